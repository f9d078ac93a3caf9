"""Dead letters: messages that were given up, as ranges of the log. No event is copied: what a
session forgets, or forgets with the session, is nowhere else.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import attrs

from .locked_file import PRIVATE, locked, replace, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path


@attrs.frozen(kw_only=True)
class DeadLetter:
    """One message that was not taken. ``id`` is its ``webhook-id``; its events are those of the
    session from ``first_seq`` to ``last_seq``, as far as the webhook wants them."""

    id: str
    session_id: str
    first_seq: int
    last_seq: int
    attempts: int
    error: str
    time_ns: int


class DeadLetters:
    """Of one webhook, in a file of JSON lines. Every method does I/O and raises OSError.

    ``is_wanted`` says whether there still is the webhook. All files of a folder have one lock,
    which stands beside the folder: it stays when a webhook goes.
    """

    def __init__(self, path: Path, is_wanted: Callable[[], bool]) -> None:
        self._path = path
        self._is_wanted = is_wanted

    def letters(self) -> list[DeadLetter]:
        """All, the oldest first. A line that a crash left unfinished was not counted as kept."""
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        found: dict[str, DeadLetter] = {}
        for line in lines:
            try:
                letter = DeadLetter(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[letter.id] = letter
        return list(found.values())

    def add(self, letter: DeadLetter) -> bool:
        """Keep one, durably. False, and nothing is kept, if its webhook is no more."""
        folder = self._path.parent
        with locked(folder):
            # who removes a webhook comes for its letters afterwards, with this lock
            if not self._is_wanted():
                return False
            folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, PRIVATE)
            try:
                # the line break in front ends a line that a crash left unfinished
                line = "\n" + json.dumps(attrs.asdict(letter)) + "\n"
                _write_all(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync(folder)
            sync(folder.parent)
        return True

    def remove(self, ids: Collection[str]) -> int:
        """Forget these; returns how many there were."""
        if not self._path.parent.exists():
            return 0
        with locked(self._path.parent):
            letters = self.letters()
            left = [letter for letter in letters if letter.id not in ids]
            if len(left) < len(letters):
                lines = [json.dumps(attrs.asdict(letter)) + "\n" for letter in left]
                replace(self._path, "".join(lines))
        return len(letters) - len(left)

    def clear(self) -> None:
        """Forget all."""
        with locked(self._path.parent):
            self._path.unlink(missing_ok=True)


def _write_all(descriptor: int, content: bytes) -> None:
    """A file that is full, or a signal, can have less written than was given."""
    while content:
        written = os.write(descriptor, content)
        if not written:
            raise OSError("nothing more could be written")
        content = content[written:]
