"""What ends when the interpreter does, although nobody has left it.

The thread of a supervisor is a daemon: Python waits for others when it exits, and nobody would tell
them to leave. Here each is told at once, and waited for until a deadline. What does not end by then
is killed with the process, as by ``kill -9``: the log is durable and whole, and the next process
records the interruption.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from .trio_thread import TrioThread

logger = structlog.get_logger("moorage")

EXIT_SECONDS_MAX = 5.0
"""How long the interpreter's exit waits for all supervisors that were not left, together."""

_open: weakref.WeakSet[TrioThread[Any]] = weakref.WeakSet()


def register(thread: TrioThread[Any]) -> None:
    """From now on the exit tells it to leave."""
    _open.add(thread)


def unregister(thread: TrioThread[Any]) -> None:
    """It has ended by itself."""
    _open.discard(thread)


def leave_all(seconds_max: float = EXIT_SECONDS_MAX) -> None:
    """Interrupt what still runs in this process, and wait for its end, ``seconds_max`` in all."""
    left = [thread for thread in _open if thread.in_its_process]
    for thread in left:
        logger.warning("supervisor_not_left", reason="the interpreter exits: its runs are ended")
        thread.leave(interrupt=True)
    until = time.monotonic() + seconds_max
    for thread in left:
        try:
            thread.ended.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            logger.error("supervisor_did_not_end", waited_seconds=seconds_max)
        except BaseException as error:
            with contextlib.suppress(Exception):
                logger.error("supervisor_failed", reason=repr(error))


# Where there is one, the hook that Python's own thread pools use: behind it no thread can be
# started any more, and a store that is closed may need one.
getattr(threading, "_register_atexit", atexit.register)(leave_all)
