"""The client's own record: what was acknowledged to it, line by line, on disk.

It knows nothing of Moorage's files. ``accepted`` is written when ``submit`` has returned,
``event`` when an event was delivered, ``ack_sent`` and ``acked`` around an acknowledgement,
``connected`` when a subscription began (again), ``cancelled`` when ``cancel`` has returned.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path


def digest_of(event: dict[str, Any]) -> str:
    """A fingerprint of all that an event says, from its JSON form."""
    text = json.dumps(event, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RecordWriter:
    """Appends to the record; every line has left this process when the call returns."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def write(self, *lines: dict[str, Any]) -> None:
        self._file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@attrs.frozen
class Accepted:
    """A run as ``submit`` acknowledged it."""

    run_id: str
    session_id: str
    key: str
    on_interrupt: str


@attrs.define
class Delivery:
    """One connection of a named subscriber: what came, and where the stored cursor could be."""

    cursors: set[int]
    """The seqs behind which it may begin: the last one known as stored, or any sent since."""
    seqs: list[int] = attrs.field(factory=list)


@attrs.define
class Record:
    """The record read back."""

    accepted: list[Accepted] = attrs.field(factory=list)
    cancelled: dict[str, bool] = attrs.field(factory=dict)
    """Run id -> whether ``cancel`` took effect."""
    events: dict[tuple[str, int], str] = attrs.field(factory=dict)
    """(session, seq) -> digest."""
    changed: list[tuple[str, int]] = attrs.field(factory=list)
    """Events that came twice and were not the same."""
    deliveries: dict[str, list[Delivery]] = attrs.field(factory=lambda: defaultdict(list))
    acked: dict[str, int] = attrs.field(factory=lambda: defaultdict(int))


def read_record(path: Path) -> Record:
    """Raises ValueError for a line that is none."""
    record = Record()
    cursors: dict[str, set[int]] = defaultdict(lambda: {0})
    with open(path, encoding="utf-8") as file:
        for line in file:
            _take(record, cursors, json.loads(line))
    return record


def _take(record: Record, cursors: dict[str, set[int]], line: dict[str, Any]) -> None:
    match line["what"]:
        case "accepted":
            record.accepted.append(
                Accepted(line["run_id"], line["session"], line["key"], line["on_interrupt"])
            )
        case "cancelled":
            record.cancelled[line["run_id"]] = line["took"]
        case "connected":
            session_id = line["session"]
            record.deliveries[session_id].append(Delivery(set(cursors[session_id])))
        case "event":
            place = (line["session"], line["seq"])
            if record.events.setdefault(place, line["digest"]) != line["digest"]:
                record.changed.append(place)
            record.deliveries[line["session"]][-1].seqs.append(line["seq"])
        case "ack_sent":
            cursors[line["session"]].add(line["seq"])
        case "acked":
            record.acked[line["session"]] = line["seq"]
            known = {seq for seq in cursors[line["session"]] if seq >= line["seq"]}
            cursors[line["session"]] = known | {line["seq"]}
        case other:
            raise ValueError(f"the record has a line about {other!r}")
