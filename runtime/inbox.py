"""A worker's one inbox, and the asks in it.

An ask belongs to a caller's task that is suspended until it is answered. Until a worker takes it,
its caller can be cancelled, and then nothing was accepted; from then on the caller is shielded
until the answer is there. Only who asks for what waits for agents (a drain, a deletion) can be
cancelled at any time, and what was asked for goes on: the caller may be such an agent.

Suspending and waking goes through trio's own primitives, because an Event and a shield per command
would cost more than the command.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import outcome
import trio

from .commands import DeleteSession, DeleteUnchanged, Drain
from .errors import BufferFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from .commands import Answer, Command
    from .errors import MoorageError


_WAITING_FOR_AGENTS = (Drain, DeleteSession, DeleteUnchanged)
_DONE_ITEMS_MAX = 1_000
"""Taken items that a list may begin with before they are removed."""


class Ask:
    """One command on its way. Ends with exactly one of ``answer`` and ``refuse``."""

    __slots__ = ("_task", "abandoned", "command", "letter", "taken")

    def __init__(
        self, command: Command, task: trio.lowlevel.Task, letter: str | None = None
    ) -> None:
        """``letter`` is the command's name in the store, if another process sent it."""
        self.command = command
        self.letter = letter
        self.taken = False
        self.abandoned = False
        self._task: trio.lowlevel.Task | None = task

    def answer(self, value: Answer) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(value))

    def refuse(self, error: BaseException) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Error(error))

    def abort(self, raise_cancel: Any) -> trio.lowlevel.Abort:
        if self.taken and not isinstance(self.command, _WAITING_FOR_AGENTS):
            return trio.lowlevel.Abort.FAILED
        self.abandoned = True
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Inbox:
    """Items for one worker, in order. It outlives the worker, so that a rebuilt one goes on."""

    __slots__ = ("_closed", "_commands", "_commands_max", "_items", "_next", "_waiting")

    def __init__(self, commands_max: int) -> None:
        # a list and an index: an empty deque is 600 bytes, and most sessions are idle
        self._items: list[Any] = []
        self._next = 0
        self._commands = 0
        self._commands_max = commands_max
        self._waiting: trio.lowlevel.Task | None = None
        self._closed: MoorageError | None = None

    def put(self, item: object) -> None:
        """Add an item and wake the worker."""
        self._items.append(item)
        task = self._waiting
        if task is not None:
            self._waiting = None
            trio.lowlevel.reschedule(task)

    async def ask(self, command: Command, letter: str | None = None) -> Answer:
        """Hand a command over and return its answer, or raise what it was refused with.

        Raises BufferFull, and Cancelled only if nothing was accepted.
        """
        if self._closed is not None:
            raise copy.copy(self._closed)
        if self._commands >= self._commands_max:
            raise BufferFull(
                "inbox_commands_max",
                used=self._commands,
                limit=self._commands_max,
                remedy="ask less at once, or raise the limit",
            )
        ask = Ask(command, trio.lowlevel.current_task(), letter)
        self._commands += 1
        self.put(ask)
        return await trio.lowlevel.wait_task_rescheduled(ask.abort)

    def take(self, ask: Ask) -> bool:
        """Whether the worker may act on the ask; from here its caller is shielded."""
        self._commands -= 1
        ask.taken = True
        return not ask.abandoned

    def wait(self) -> Awaitable[None]:
        """Wait for an item; only while there is none."""
        assert not self._items, "who does not look first might wait for what is there"
        self._waiting = trio.lowlevel.current_task()
        # handed on as it is: most sessions are idle, and a coroutine around it is 250 bytes
        return trio.lowlevel.wait_task_rescheduled(self._abort_wait)  # noqa: ASYNC105

    def _abort_wait(self, raise_cancel: Any) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def __len__(self) -> int:
        return len(self._items) - self._next

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items[self._next :])

    def pop(self) -> Any:
        """Remove and return the item that came first. Raises IndexError."""
        items, index = self._items, self._next
        item = items[index]
        items[index] = None
        index += 1
        if index == len(items):
            items.clear()
            index = 0
        elif index >= _DONE_ITEMS_MAX:
            del items[:index]
            index = 0
        self._next = index
        return item

    def put_first(self, items: Sequence[Any]) -> None:
        """Put items before all others, in their order; does not wake anybody."""
        self._items[: self._next] = items
        self._next = 0

    def take_all(self) -> list[Any]:
        """Remove and return everything."""
        items, self._items, self._next = self._items[self._next :], [], 0
        return items

    def keep_only_asks(self) -> None:
        """Drop what the tasks of a worker that is gone have put in."""
        self._items = [item for item in self.take_all() if isinstance(item, Ask)]

    def has_asks(self) -> bool:
        return any(isinstance(item, Ask) for item in self)

    def refuse_all(self, error: MoorageError, *, close: bool = False) -> None:
        """Refuse every ask that is waiting; with ``close`` those to come as well."""
        if close:
            self._closed = error
        for item in self.take_all():
            if isinstance(item, Ask) and self.take(item):
                item.refuse(copy.copy(error))
