"""Two stores of snapshots: in memory, and one file for each session."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..jsonl.names import stem_of


class MemorySnapshots:
    """Snapshots in memory, gone with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load(self, session_id: str) -> bytes | None:
        return self._kept.get(session_id)

    def save(self, session_id: str, snapshot: bytes) -> None:
        self._kept[session_id] = snapshot

    def clear(self, session_id: str) -> None:
        self._kept.pop(session_id, None)


class FileSnapshots:
    """One file for each session in ``directory``, replaced as a whole, durable on return.

    Methods raise OSError. Two of the same directory are equal.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).absolute()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileSnapshots) and self.directory == other.directory

    def __hash__(self) -> int:
        return hash(self.directory)

    def load(self, session_id: str) -> bytes | None:
        try:
            return self._path(session_id).read_bytes()
        except FileNotFoundError:
            return None

    def save(self, session_id: str, snapshot: bytes) -> None:
        path = self._path(session_id)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(snapshot)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
        self._sync_names()

    def clear(self, session_id: str) -> None:
        with suppress(FileNotFoundError):
            self._path(session_id).unlink()
            self._sync_names()

    def _path(self, session_id: str) -> Path:
        return self.directory / f"{stem_of(session_id)}.snapshot"

    def _sync_names(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
