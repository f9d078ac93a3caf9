"""The watcher: a small process that outlives its owner by a moment, to kill what it left behind.

Run as ``python -I -S watcher_program.py`` with a socket as standard input; it imports nothing of
Moorage. The owner's side of the socket is closed by the kernel when the owner dies, whatever it
dies of. See ``watcher.py`` for the protocol and for why no child can slip through.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KILL_ROUNDS_MAX = 50
KILL_PAUSE_SECONDS = 0.02


class Groups:
    """Process groups to kill at the end, and the zombies ("anchors") that hold new ids."""

    def __init__(self) -> None:
        self._watched: set[int] = set()
        self._anchors: set[int] = set()

    def new(self) -> int:
        """Make an empty process group whose id cannot be reused before ``joined``."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)
            finally:
                os._exit(0)
        # by both sides: whichever runs first, the group exists before its id is told
        try:
            os.setpgid(pid, pid)
        except OSError:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self._watched.add(pid)
        self._anchors.add(pid)
        return pid

    def watch(self, group: int) -> None:
        self._watched.add(group)

    def joined(self, group: int) -> None:
        """The program is in the group and holds its id from now on."""
        if group in self._anchors:
            self._anchors.discard(group)
            os.waitpid(group, 0)

    def done(self, group: int) -> None:
        self.joined(group)
        self._watched.discard(group)

    def kill(self) -> None:
        # A group without members is gone for good, so nothing can join it after we looked. It
        # takes more than one look: zombies are members until init has reaped them.
        for anchor in tuple(self._anchors):
            self.joined(anchor)
        kill_strays(self._watched)
        for _ in range(KILL_ROUNDS_MAX):
            self._watched = {group for group in self._watched if _killed(group)}
            if not self._watched:
                return
            time.sleep(KILL_PAUSE_SECONDS)


def kill_strays(groups: set[int]) -> None:
    """Kill what members of the groups have started in sessions of its own, as shells of coding
    agents are, for as long as their parents live to tell whose they are. Linux only.

    Everything is stopped first, until a look finds nothing new: what is stopped starts no more.
    """
    for group in groups:
        _signal(os.killpg, group, signal.SIGSTOP)
    strays: set[int] = set()
    for _ in range(KILL_ROUNDS_MAX):
        new = _strays(groups) - strays
        if not new:
            break
        for pid in new:
            _signal(os.kill, pid, signal.SIGSTOP)
        strays |= new
    for pid in strays:
        _signal(os.kill, pid, signal.SIGKILL)


def _strays(groups: set[int]) -> set[int]:
    """Ids of the processes below members of the groups that are in no such group."""
    processes = _processes()
    below = {pid for pid, (_, group) in processes.items() if group in groups}
    size = -1
    while size < len(below):
        size = len(below)
        below |= {pid for pid, (parent, _) in processes.items() if parent in below}
    return {pid for pid in below if processes[pid][1] not in groups}


def _processes() -> dict[int, tuple[int, int]]:
    """Id of each process -> ids of its parent and its group; empty without /proc."""
    found: dict[int, tuple[int, int]] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return found
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # the name of the program, in parentheses, may have anything in it
                _, parent, group, *_ = file.read().rpartition(b")")[2].split()
        except (OSError, ValueError):  # it has just ended
            continue
        found[int(name)] = (int(parent), int(group))
    return found


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    with contextlib.suppress(OSError):  # gone, or not ours
        send(target, number)


def _killed(group: int) -> bool:
    """Whether there was anything to kill; zombies count until somebody reaps them."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _obey(groups: Groups, line: bytes) -> bytes:
    """Carry out one line of the protocol and return the answer, which may be empty."""
    word, _, number = line.partition(b" ")
    if word == b"new":
        try:
            return b"%d\n" % groups.new()
        except OSError as error:
            return b"error %d\n" % (error.errno or 0)
    actions = {b"watch": groups.watch, b"joined": groups.joined, b"done": groups.done}
    actions[word](int(number))
    return b""


def main() -> None:
    """Obey the commands on standard input until it ends, then kill every group that is left."""
    # Whoever signals the whole service (a terminal, an init system) means its owner: the watcher
    # ends when the owner has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    groups = Groups()
    pending = b""
    try:
        while chunk := os.read(0, 65536):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                answer = _obey(groups, line)
                if answer:
                    os.write(0, answer)
    except OSError:
        pass  # a reset socket is an owner that died with an answer unread
    finally:
        groups.kill()
        os._exit(0)


if __name__ == "__main__":
    main()
