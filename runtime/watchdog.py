"""The watchdog: reports an agent that keeps the event loop to itself.

A thread asks the loop for a sign of life and looks at the clock. When none comes in time it takes
the loop thread's stack, in which the frames of the coroutine that is running can be seen, and
finds the run there. It costs the loop one callback per interval, and an agent that blocks for ever
is reported all the same, which an instrument inside the loop could not do.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import trio

from .errors import BufferFull, RunEnded
from .execution import Execution

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

logger = structlog.get_logger("moorage")

STACK_FRAMES_MAX = 12
LOOKS = 5
"""How often it looks before it calls the loop blocked. Where the whole process stood still, stopped
by a signal or with its machine, one look is over at once, and the loop answers by the next."""


class Watchdog:
    """Watches the loop that ``start`` is called in until ``stop``. ``report(run)`` is called in
    the loop once it is free again, with the execution that blocked it if one did.

    Where ``blocked_seconds`` is infinite, or more than threads can wait for, there is none.
    """

    def __init__(
        self, blocked_seconds: float, report: Callable[[Execution | None, float], None]
    ) -> None:
        self._blocked_seconds = blocked_seconds
        self._report = report
        self._stopping = threading.Event()
        self._alive = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._blocked_seconds > threading.TIMEOUT_MAX:
            return
        token = trio.lowlevel.current_trio_token()
        loop_thread = threading.get_ident()
        self._thread = threading.Thread(
            target=self._watch, args=(token, loop_thread), name="moorage watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it is gone when this returns."""
        self._stopping.set()
        self._alive.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, token: trio.lowlevel.TrioToken, loop_thread: int) -> None:
        while not self._stopping.wait(self._blocked_seconds / 2):
            self._alive.clear()
            if self._stopping.is_set():
                return  # stop() set both before we cleared one, and waits for us
            asked_at = time.monotonic()
            try:
                token.run_sync_soon(self._alive.set, idempotent=True)
                if any(self._alive.wait(self._blocked_seconds / LOOKS) for _ in range(LOOKS)):
                    continue
                execution = self._find_and_log(sys._current_frames().get(loop_thread))
                self._alive.wait()
                if not self._stopping.is_set():
                    blocked = time.monotonic() - asked_at
                    token.run_sync_soon(self._report, execution, blocked)
            except trio.RunFinishedError:
                return

    def _find_and_log(self, frame: FrameType | None) -> Execution | None:
        execution = _execution_in(frame)
        stack = "".join(traceback.format_stack(frame, STACK_FRAMES_MAX)) if frame else "unknown"
        logger.warning(
            "event_loop_blocked",
            session_id=execution.session_id if execution else None,
            run_id=execution.run_id if execution else None,
            blocked_seconds_min=self._blocked_seconds,
            stack=stack,
        )
        return execution


def _execution_in(frame: FrameType | None) -> Execution | None:
    """The run whose coroutine is on this stack, the innermost one."""
    while frame is not None:
        if frame.f_code is Execution.run.__code__:
            found = frame.f_locals.get("self")
            return found if isinstance(found, Execution) else None
        frame = frame.f_back
    return None


def record_blocked(execution: Execution, seconds: float) -> None:
    """Record it with the run that kept the loop for so long, if that is still there."""
    data = {
        "code": "loop_blocked",
        "message": f"the agent kept the event loop for {seconds:.2f} s: await, or use "
        "trio.to_thread.run_sync for blocking calls",
        "blocked_seconds": seconds,
    }
    with suppress(RunEnded, BufferFull):
        execution.emit_nowait("error_occurred", data)
