"""The thread with trio in it: what is opened there, and the calls that come in from outside.

Why a thread, and not trio's guest mode in the host's own loop: whatever keeps that loop busy would
keep the supervisor from committing, from renewing its leases and from serving everybody else. In
its own thread it goes on. docs/embedding.md has what both cost.

Crossing threads is what costs, so it is done for many at once: callers append to a queue, and only
the first of them wakes trio up, which then takes everything that is there.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog
import trio
from moorage.runtime.own_process import OwnProcess

from . import process_exit
from .calls import Call, supervisor_closed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

logger = structlog.get_logger("moorage")

Opened = TypeVar("Opened")


class _HostLeftByException(BaseException):
    """Raised into the supervisor's block, which then interrupts instead of draining."""


class TrioThread(Generic[Opened]):
    """Opens an async context manager in a trio of its own, and leaves it when told to.

    ``opened`` has what it gave, or why it could not be opened; ``ended`` is done when nothing of it
    is left, and has the error it was left with, if any. Both are to be waited for by their
    methods alone: nobody else may cancel them.
    """

    def __init__(
        self,
        open: Callable[[], AbstractAsyncContextManager[Opened]],
        *,
        services: Callable[[TrioThread[Any]], Any] | None = None,
    ) -> None:
        """``services(self)`` is an async function that runs in trio as long as it is open."""
        self.opened: concurrent.futures.Future[Opened] = concurrent.futures.Future()
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._open = open
        self._services = services
        self._process = OwnProcess()
        self._inbox: deque[Call | Callable[[], object]] = deque()
        self._awake = True  # nothing is to be woken before it has begun
        self._over = False
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._opening = trio.CancelScope()
        self._wakes: list[Callable[[], object]] = []
        self._waker: trio.lowlevel.Task | None = None
        self._leave = trio.Event()
        self._interrupt = False
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name="moorage supervisor",
            daemon=True,  # process_exit ends it: it could not be joined before it was told to leave
        )

    def start(self) -> None:
        """Begin to open; ``opened`` tells when that is done."""
        for future in (self.opened, self.ended):
            future.set_running_or_notify_cancel()
        process_exit.register(self)
        self._thread.start()

    # ---- any thread ----

    @property
    def is_current(self) -> bool:
        """Whether this is the thread itself, which must not wait for its own answers."""
        return threading.current_thread() is self._thread

    @property
    def in_its_process(self) -> bool:
        """False in a process that was forked off later, where this thread does not exist."""
        return self._process.is_this

    @property
    def can_be_waited_for(self) -> bool:
        """Whether who waits for ``ended`` will see it: not the thread itself, in which the garbage
        collector may leave a block, and not a forked process, which has left its parent's."""
        return self.in_its_process and not self.is_current

    def check_process(self) -> None:
        """Raises WrongProcess in a forked process."""
        self._process.check()

    def submit(self, call: Call) -> None:
        """Have a call begun. It is answered whatever happens. Raises WrongProcess."""
        self.check_process()
        self._put(call)

    def run_soon(self, function: Callable[[], object]) -> None:
        """Have a function that cannot block called in trio, behind all that was asked before; not
        any more once this has ended."""
        if self._process.is_this:
            self._put(function)

    def start_soon(self, function: Callable[[], Awaitable[object]]) -> None:
        """Have an async function called in trio, behind all that was asked before, and nobody told
        what becomes of it."""
        if self._process.is_this:
            self._put(Call(function, lambda call: None))

    def leave(self, *, interrupt: bool = False) -> None:
        """Begin to leave: drain, or, with ``interrupt``, cancel what runs. Asking again, or when
        it has ended, is harmless; a drain goes on to its deadline."""
        if not interrupt:
            self.run_soon(self._leave.set)
        else:
            self.run_soon(self._leave_by_exception)

    def join(self) -> None:
        """Behind ``ended``: return when the thread itself is gone, which is a matter of
        microseconds."""
        self._thread.join()

    def _put(self, item: Call | Callable[[], object]) -> None:
        self._inbox.append(item)
        if self._over:
            self._refuse_all()
        elif not self._awake:
            self._awake = True
            try:
                self._token.run_sync_soon(self._take)
            except trio.RunFinishedError:
                self._refuse_all()
            except BaseException:  # Ctrl-C, perhaps before trio was told, on which others count
                self._awake = False
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._take)
                raise

    def _refuse_all(self) -> None:
        while self._inbox:
            try:
                item = self._inbox.popleft()
            except IndexError:  # another thread was faster
                return
            if isinstance(item, Call):
                item.refuse()

    # ---- its own thread ----

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            trio.run(self._main)
        except BaseException as raised:
            error = raised
        # from here on whoever asks answers itself, and what has come before is answered here
        self._over = True
        self._refuse_all()
        process_exit.unregister(self)
        if not self.opened.done():
            self.opened.set_exception(error or supervisor_closed())
            error = None
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._begin)
            nursery.start_soon(self._wake_hosts)
            try:
                if self._services is not None:
                    nursery.start_soon(self._services, self)
                await self._stay_open()
            except BaseException as error:
                failure = error  # out of the nursery it would come in a group
            # whoever asked before has been answered by what was opened, or is refused now
            nursery.cancel_scope.cancel()
        self._over = True
        self._wake_now()
        if failure is not None:
            raise failure

    async def _begin(self) -> None:
        self._take()

    def at_turns_end(self, wake: Callable[[], object]) -> None:
        """Call ``wake`` when all tasks that can run now have run; at once in another thread, or
        where trio is over."""
        if self._over or not self.is_current:
            wake()
            return
        self._wakes.append(wake)
        waker, self._waker = self._waker, None
        if waker is not None:
            trio.lowlevel.reschedule(waker)

    async def _wake_hosts(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._waker = None
            return trio.lowlevel.Abort.SUCCEEDED

        while True:
            if self._wakes:
                self._wake_now()
            else:
                self._waker = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_now(self) -> None:
        wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()

    async def _stay_open(self) -> None:
        try:
            with self._opening:
                async with self._open() as opened:
                    self.opened.set_result(opened)
                    await self._leave.wait()
                    if self._interrupt:
                        raise _HostLeftByException
        except _HostLeftByException:
            pass

    def _leave_by_exception(self) -> None:
        if not self.opened.done():
            self._opening.cancel()
        self._interrupt = True
        self._leave.set()

    def _take(self) -> None:
        """Begin all calls that have come. The flag is lowered first: what comes after that wakes
        trio up again, what came before is taken here."""
        self._awake = False
        if self._over:
            self._refuse_all()
        inbox = self._inbox
        for _ in range(len(inbox)):
            item = inbox.popleft()
            if isinstance(item, Call):
                item.start(self._nursery)
            else:
                try:
                    item()
                except Exception as error:  # it would end trio for everybody
                    logger.error("call_failed", reason=repr(error))
        if inbox and not self._awake:
            self._awake = True
            self._token.run_sync_soon(self._take)
