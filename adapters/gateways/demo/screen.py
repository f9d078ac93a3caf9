"""What the demo shows: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from moorage.adapters.sinks.text import one_line, shorten
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..tables import standard_output

if TYPE_CHECKING:
    from types import TracebackType

    from .checks import Finding

LINE_SECONDS = 2.0
"""Between two lines where there is no terminal."""
SAID_CHARS = 200


class Screen:
    """``async with`` is not needed: it is a plain context manager, and starts no thread."""

    def __init__(self) -> None:
        self._console = standard_output()
        self._live: Live | None = None
        self._started_at = time.monotonic()
        self._line_at = 0.0
        self._phase = ""
        self._sessions: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._gone = False

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _seconds(self) -> float:
        return time.monotonic() - self._started_at

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, above the table, with the time since the beginning."""
        line = Text(f"{self._seconds():5.1f} s  ", style="dim")
        line.append(text, style=style or "not dim")
        self._console.print(line, soft_wrap=True)

    def phase(self, text: str) -> None:
        """What goes on now."""
        self._phase = text
        self._draw()

    def show(
        self, sessions: dict[str, Any] | None = None, counts: dict[str, int] | None = None
    ) -> None:
        """Draw the latest of what the service and the client have told."""
        if sessions is not None:
            self._sessions, self._gone = sessions, False
        self._counts = counts if counts is not None else self._counts
        self._draw()

    def blank(self) -> None:
        """The service is gone: nothing runs, and nobody says what is queued."""
        self._gone = True
        for row in self._sessions.values():
            row.update(running=[], said="")
        self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(Group(self._table(), self._foot()), refresh=True)
        elif self._sessions and time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            rows = self._sessions.values()
            now = (
                "no service"
                if self._gone
                else f"service: {sum(len(row['running']) for row in rows)} running, "
                f"{sum(row['queued'] for row in rows)} queued"
            )
            # each tells in its own time, so the numbers of one do not add up to those of the other
            self.say(f"{now}; client: {self._summary()}")

    def _summary(self) -> str:
        counts = self._counts
        return (
            f"{counts.get('accepted', 0)} runs accepted, {counts.get('ended', 0)} ended, "
            f"{counts.get('cancelled', 0)} of them cancelled, {counts.get('events', 0)} events seen"
        )

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=True)
        table.add_column("SESSION", no_wrap=True, style="bold")
        table.add_column("SLOTS", no_wrap=True)
        table.add_column("QUEUE", no_wrap=True, style="yellow")
        table.add_column("EVENTS", justify="right", no_wrap=True)
        table.add_column("RUNNING", no_wrap=True, overflow="ellipsis", ratio=3, style="cyan")
        table.add_column("LAST LINE", no_wrap=True, overflow="ellipsis", ratio=3, style="dim")
        for session_id, row in self._sessions.items():
            busy = len(row["running"])
            table.add_row(
                session_id,
                Text("■" * busy, style="green") + Text("□" * (row["slots"] - busy), style="dim"),
                "●" * row["queued"],
                str(row["events"]),
                ", ".join(row["running"]),
                Text(shorten(one_line(row["said"]), SAID_CHARS)),
            )
        return table

    def _foot(self) -> Text:
        return Text.assemble(
            (f"{self._seconds():5.1f} s  ", "dim"),
            (self._phase, "bold"),
            ("  ·  ", "dim"),
            self._summary(),
        )

    def findings(self, findings: list[Finding]) -> None:
        """The proof, one line each."""
        width = max(len(finding.claim) for finding in findings)
        for finding in findings:
            mark = ("✓ ", "bold green") if finding.holds else ("✗ ", "bold red")
            line = Text.assemble(mark, f"{finding.claim:<{width}}  ", (finding.counts, "bold"))
            self._console.print(line, soft_wrap=True)
