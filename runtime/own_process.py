"""The process in which something was opened, and its forks.

One that is forked off has a copy of everything, of files and locks too, but none of the threads:
what is asked of the copy would wait for ever, or be lost, or be written where the parent writes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import weakref
from typing import Protocol

from .errors import WrongProcess


class OwnProcess:
    """To be made where something is opened."""

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.pid = os.getpid()

    @property
    def is_this(self) -> bool:
        """False in a process that was forked off later."""
        return os.getpid() == self.pid

    def check(self) -> None:
        """Raise WrongProcess in a process that was forked off later."""
        if os.getpid() != self.pid:
            raise WrongProcess(self.pid)

    def end_fork(self, error: BaseException | None = None) -> None:
        """In a fork that would come back into an event loop of its parent, whose wake-ups it would
        take away: end it there, as ``multiprocessing`` does, with what ``error`` asks for."""
        if self.is_this or isinstance(error, GeneratorExit):  # which is of no loop: it ends already
            return
        code: object = error.code if isinstance(error, SystemExit) else int(error is not None)
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        elif not isinstance(code, (int, type(None))):
            sys.stderr.write(f"{code}\n")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


class Forked(Protocol):
    """What has to know that it is a copy."""

    def become_copy(self) -> None:
        """Called in a process that was forked off, before anything else there. Waits for nothing:
        whoever held a lock may not be there any more. The parent's is to stay as it is."""
        ...


_told: weakref.WeakSet[Forked] = weakref.WeakSet()


def told_of_forks(thing: Forked) -> None:
    """Have ``thing``, which is kept weakly, told in each process that is forked off."""
    _told.add(thing)


def _tell_copies() -> None:
    for thing in list(_told):
        try:
            thing.become_copy()
        except BaseException:  # the others have locks and sockets of the parent, too
            with contextlib.suppress(AttributeError, OSError, ValueError):
                traceback.print_exc()


os.register_at_fork(after_in_child=_tell_copies)
