"""A drain of one session: what it waits for, and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .events import RUN_TERMINAL_TYPES
from .runs import RunState
from .sessions import DrainReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .commands import Drain
    from .events import Event
    from .image import SessionImage
    from .inbox import Ask


class DrainWatch:
    """Collects the fate of runs from the moment of the request on."""

    def __init__(self, ask: Ask, command: Drain) -> None:
        self.ask = ask
        self.finish = command.queued == "finish"
        self.expired = False
        self._completed: list[str] = []
        self._interrupted: list[str] = []
        self._requeued: list[str] = []

    def note(self, events: Iterable[Event]) -> None:
        """Remember what durable events made of runs."""
        for event in events:
            run_id = event.run_id or ""
            if event.type == "run_interrupted":
                self._interrupted.append(run_id)
            elif event.type == "run_requeued":
                self._requeued.append(run_id)
            elif event.type in RUN_TERMINAL_TYPES:
                self._completed.append(run_id)

    def is_over(self, image: SessionImage, unresponsive: frozenset[str]) -> bool:
        """Whether nothing more will change: idle, or only those run that never stop."""
        running = image.in_state(RunState.RUNNING, RunState.CANCELLING)
        if self.expired:
            return unresponsive.issuperset(running)
        return not running and not (self.finish and image.queue)

    def report(self, image: SessionImage) -> DrainReport:
        """What became of every run that this session has, or finished meanwhile."""
        requeued = set(self._requeued)
        return DrainReport(
            completed=tuple(self._completed),
            interrupted=tuple(self._interrupted),
            requeued=tuple(self._requeued),
            queued=tuple(run_id for run_id in image.queued() if run_id not in requeued),
            not_stopped=image.in_state(RunState.RUNNING, RunState.CANCELLING),
        )


class Drains:
    """The drains of one session that go on."""

    __slots__ = ("_watches",)

    def __init__(self) -> None:
        self._watches: list[DrainWatch] = []

    def __len__(self) -> int:
        return len(self._watches)

    def __iter__(self) -> Iterator[DrainWatch]:
        return iter(self._watches)

    def begin(self, ask: Ask, command: Drain) -> DrainWatch:
        """Watch over one more."""
        watch = DrainWatch(ask, command)
        self._watches.append(watch)
        return watch

    def remove(self, watch: DrainWatch) -> None:
        self._watches.remove(watch)

    def note(self, events: Iterable[Event]) -> None:
        """Tell all of them what durable events made of runs."""
        for watch in self._watches:
            watch.note(events)

    def over(self, image: SessionImage, unresponsive: Iterable[str]) -> list[DrainWatch]:
        """Those that have nothing more to wait for."""
        ignoring = frozenset(unresponsive)
        return [watch for watch in self._watches if watch.is_over(image, ignoring)]

    def any_expired(self) -> bool:
        return any(watch.expired for watch in self._watches)
