"""One watcher process for all child processes of this one: they die with us, even by SIGKILL.

The kernel can send a signal to a child when its parent dies, but on Linux that follows the thread
that spawned it, and worker threads come and go. So another process watches: it holds one end of a
socket whose other end only we have, knows the process groups of our children, and kills them when
the socket says that we are gone.

No child runs unwatched, because the group exists before the child does:

1. We ask for a group. The watcher forks a process that makes itself the leader of a new group and
   exits at once. As long as nobody reaps that zombie (the anchor), its id is taken.
2. The watcher adds the group to those it will kill, and only then answers with its id.
3. We spawn the child with ``process_group=id``: it joins between fork and exec.
4. ``joined`` lets the watcher reap the anchor; from now on the child itself holds the id.
5. When the child has ended and the group was killed, ``done`` forgets the group. Only then is the
   child reaped, so nobody else can have got the id in between.

If we die between 2 and 4, the new child still has a copy of our end of the socket until it has
joined and is executing, so the watcher notices our end only after that. And should it come later,
the watcher reaps the anchors first and then kills each group until it is gone: a group that is
gone cannot be joined, and the child fails instead of running.

Children stay in our session (a process can only join a group of its own session). A program that
leaves its group on purpose, as daemons do, is neither watched nor killed by the watcher; cancelling
its run ends it all the same.

The watcher is started for the first child, shared by all threads and event loops, replaced when it
died, and ended with the last child. In a forked copy of our process it is forgotten, not used.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from .process_errors import ProcessLimitReached, ProcessNotStarted

PROGRAM = Path(__file__).with_name("watcher_program.py")
ANSWER_SECONDS_MAX = 10.0
"""How long the watcher may take to start and answer before it is replaced."""


class Watcher:
    """Our side of the watcher. Methods block for about a millisecond (20 when it must start):
    call them in a worker thread. Several threads may."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._holds = 0
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._session = 0

    @property
    def pid(self) -> int | None:
        """The watcher's process id while it is needed."""
        return self._process.pid if self._process else None

    def reserve(self) -> int:
        """Make a watched process group for a child to join, and return its id.

        Raises ProcessLimitReached if the system has no room for another process, or the watcher
        does not work, and ProcessNotStarted if there is no interpreter to run it.
        """
        with self._lock:
            try:
                group = self._ask_twice()
            except OSError as error:
                self._end_if_unused()
                raise ProcessLimitReached(
                    f"no watched process group can be made: {error}: try again later",
                    program=sys.executable,
                ) from error
            self._groups.add(group)
            return group

    def joined(self, group: int) -> None:
        """The child is in its group."""
        with self._lock:
            self._tell(b"joined", group)

    def release(self, group: int) -> None:
        """The group was killed, or never joined; forget it. The last one ends the watcher."""
        with self._lock:
            self._groups.discard(group)
            self._end_if_unused()
            if self._socket is not None:
                self._tell(b"done", group)

    def hold(self) -> None:
        """Keep the watcher running between children, until ``let_go``."""
        with self._lock:
            self._holds += 1

    def let_go(self) -> None:
        with self._lock:
            self._holds -= 1
            self._end_if_unused()

    def forget_in_fork(self) -> None:
        """In a forked copy of our process: close our copy of the socket, leave all else alone."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.returncode = 0  # not our child here: do not wait or warn
        self._reset()

    def _ask_twice(self) -> int:
        try:
            return self._ask()
        except (ConnectionError, TimeoutError):
            self._end()  # it died since we last spoke: a new one will do
        return self._ask()

    def _ask(self) -> int:
        """Send one request for a group; raises OSError."""
        self._start_if_needed()
        assert self._socket is not None
        self._socket.sendall(b"new\n")
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = self._socket.recv(64)
            if not chunk:
                raise ConnectionResetError("the watcher process died")
            answer += chunk
        if answer.startswith(b"error"):
            number = int(answer.split()[1])
            raise OSError(number, os.strerror(number))
        return int(answer)

    def _tell(self, word: bytes, group: int) -> None:
        try:
            if self._socket is None:
                raise ConnectionResetError
            self._socket.sendall(b"%s %d\n" % (word, group))
        except OSError:
            self._end()
            # if it cannot be replaced now, the next child that starts tries again and reports it
            with contextlib.suppress(OSError, ProcessNotStarted):
                self._start_if_needed()

    def _start_if_needed(self) -> None:
        session = os.getsid(0)
        if self._socket is not None and session == self._session:
            return
        self._end()
        if not sys.executable or getattr(sys, "frozen", False):
            raise ProcessNotStarted(
                f"child processes need a Python interpreter to watch them and sys.executable is "
                f"{sys.executable!r} in a frozen program: run from an installed Python",
                program=str(sys.executable),
            )
        ours, theirs = socket.socketpair()
        ours.settimeout(ANSWER_SECONDS_MAX)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(PROGRAM)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        self._socket, self._session = ours, session
        for group in self._groups:
            ours.sendall(b"watch %d\n" % group)

    def _end_if_unused(self) -> None:
        if not self._groups and not self._holds:
            self._end()

    def _end(self) -> None:
        # killed before its socket closes, or it would kill the groups that still run
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


WATCHER = Watcher()
os.register_at_fork(after_in_child=WATCHER.forget_in_fork)
