"""What agents say, as they say it, and nothing else: for pipes into other programs.

Streamed text is written as it comes, a whole message only if it was not streamed, and the output of
a run only if the run said nothing. Nothing is added but a line break between messages, and, unless
the text is ``raw``, nothing is let through that a terminal would act upon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.events import RUN_TERMINAL_TYPES

from .text import block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.events import Event


class PassThroughRenderer:
    """The text of messages, unchanged."""

    def __init__(self, *, raw: bool = False) -> None:
        self._raw = raw
        self._streamed: set[str | None] = set()
        self._said: set[str | None] = set()
        self._open: tuple[str | None] | None = None

    def render(self, events: Iterable[Event]) -> str:
        parts: list[str] = []
        for event in events:
            data = event.data if isinstance(event.data, dict) else {}
            if event.type == "message_streamed":
                self._say(event, data.get("delta"), parts)
                self._streamed.add(event.run_id)
            elif event.type == "message_received":
                if event.run_id not in self._streamed:
                    self._say(event, data.get("content"), parts)
                self._streamed.discard(event.run_id)
                parts.append(self.finish())
            elif event.type in RUN_TERMINAL_TYPES:
                self._end(event, data.get("output"), parts)
        return "".join(parts)

    def finish(self) -> str:
        """What ends an open line."""
        end = "" if self._open is None else "\n"
        self._open = None
        return end

    def _end(self, event: Event, output: object, parts: list[str]) -> None:
        if event.run_id not in self._said:
            self._say(event, output.get("content") if isinstance(output, dict) else output, parts)
        self._said.discard(event.run_id)
        self._streamed.discard(event.run_id)
        if self._open == (event.run_id,):
            parts.append(self.finish())

    def _say(self, event: Event, text: object, parts: list[str]) -> None:
        if type(text) is not str or not text:
            return
        self._said.add(event.run_id)
        run = (event.run_id,)
        if self._open not in (None, run):
            parts.append(self.finish())
        parts.append(text if self._raw else block(text))
        self._open = None if text.endswith("\n") else run
