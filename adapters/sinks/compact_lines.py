"""Events as JSON lines in less room, 0.4 of it for streamed text; nothing is lost.

The first line names the session, every other line is one event as an array::

    {"moorage_events":1,"session_id":"user-42"}
    [1,1764230000000000000,"session_opened",null,{"slots":1}]
    [2,1764230000000000100,"run_submitted","01K2...",{"input":"Hello"}]
    [3,1764230000000000200,"run_started",0,{"attempt":1}]

These are ``seq``, ``time_ns``, ``type``, ``run_id`` (0: that of the line before) and ``data``, as
reversible_json writes it; behind them, where there is something to say, ``metadata`` and
``version``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import InvalidArgument
from moorage.runtime.reversible_json import dump_line, event_from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.events import Event

HEADER = "moorage_events"
LINES_VERSION = 1
SAME_RUN = 0
"""Stands for the run of the line before."""
_FIELDS = (5, 7)


class CompactLinesRenderer:
    """One array per event. ``begun`` says that the first line is there already."""

    def __init__(self, *, begun: bool = False) -> None:
        self._begun = begun
        self._run_id: str | None = None

    def render(self, events: Iterable[Event]) -> str:
        lines: list[str] = []
        for event in events:
            if not self._begun:
                self._begun = True
                lines.append(dump_line({HEADER: LINES_VERSION, "session_id": event.session_id}))
            lines.append(dump_line(self._row(event)))
        return "".join(lines)

    def finish(self) -> str:
        return ""

    def _row(self, event: Event) -> list[Any]:
        run_id = event.run_id
        same = run_id is not None and run_id == self._run_id
        self._run_id = run_id
        row = [event.seq, event.time_ns, event.type, SAME_RUN if same else run_id]
        row.append(to_json(event.data))
        if event.metadata is not None or event.version != 1:
            row += [to_json(event.metadata), event.version]
        return row


class CompactLinesReader:
    """Reads such lines back, one after the other."""

    def __init__(self, header: dict[str, Any]) -> None:
        """Raises InvalidArgument for a first line that this version cannot read."""
        version, session_id = header.get(HEADER), header.get("session_id")
        if type(version) is not int or type(session_id) is not str:
            raise InvalidArgument(f"the first line must have {HEADER} and session_id")
        if version > LINES_VERSION:
            raise InvalidArgument(
                f"the file has version {version} and this moorage reads up to {LINES_VERSION}: "
                "use a newer one"
            )
        self.session_id = session_id
        self._run_id: Any = None

    def event(self, row: Any) -> Event:
        """The event of a line. Raises InvalidArgument for anything else."""
        if type(row) is not list or len(row) not in _FIELDS:
            raise InvalidArgument(
                f"an event is an array of {' or '.join(map(str, _FIELDS))}, not {row!r:.60}"
            )
        seq, time_ns, type_, run_id, data, *rest = row
        if type(run_id) is int and run_id == SAME_RUN:
            run_id = self._run_id
            if run_id is None:
                raise InvalidArgument("it says the run of the line before, which has none")
        self._run_id = run_id
        metadata, version = rest or (None, 1)
        return event_from_json(
            {
                "session_id": self.session_id,
                "seq": seq,
                "time_ns": time_ns,
                "type": type_,
                "run_id": run_id,
                "data": data,
                "metadata": metadata,
                "version": version,
            }
        )


def last_seq_of(line: bytes) -> int:
    """The seq of an event's line in either form. Raises InvalidArgument."""
    try:
        value = json.loads(line)
        seq = value[0] if type(value) is list else value["seq"]
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidArgument(f"{line[:60]!r} is no event") from error
    if type(seq) is not int:
        raise InvalidArgument(f"{line[:60]!r} is no event")
    return seq
