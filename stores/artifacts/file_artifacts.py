"""Artifacts as files of a directory, under their keys.

::

    artifacts/          0700
      .incoming/...     what is being written, or was when the process died
      ses-1/0a1b...     0600, complete: it came here by rename, synced before
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio
from moorage.runtime.errors import InvalidArgument

from .pieces import Tally, compared, pieces_of
from .port import (
    BINARY,
    PIECE_BYTES,
    ArtifactMissing,
    ArtifactsFailed,
    ArtifactsRefused,
    Listed,
    Stored,
    check_key,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import TypeVar

    from .port import Source

    T = TypeVar("T")

INCOMING = ".incoming"
INCOMING_SECONDS_MAX = 24 * 3600.0
"""What has lain there for so long was left by a crash, and goes with the next sweep."""
_THREADS_MAX = 8
_WRITE_BYTES = 1024 * 1024
"""Pieces that come are collected up to this before a thread writes them."""


class FileArtifacts:
    """The artifacts in the directory ``path``, which any number of processes may share."""

    def __init__(self, path: str | Path, *, name: str = "files") -> None:
        """No I/O happens here. Raises InvalidArgument."""
        try:
            self.path = Path(path).absolute()
        except TypeError as error:
            raise InvalidArgument(f"artifacts need the path of a directory: {error}") from None
        self._name = name
        self._limiter = trio.CapacityLimiter(_THREADS_MAX)

    @property
    def name(self) -> str:
        return self._name

    async def put(self, key: str, source: Source, *, media_type: str = BINARY) -> Stored:
        final = self._file(key)
        tally = Tally()
        incoming, output = await self._in_thread(self._begin)
        try:
            waiting = bytearray()
            async for piece in pieces_of(source):
                tally.add(piece)
                waiting += piece
                if len(waiting) >= _WRITE_BYTES:
                    await self._in_thread(output.write, bytes(waiting))
                    waiting.clear()
            await self._in_thread(self._finish, output, bytes(waiting), incoming, final)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._in_thread(_abandon, output, incoming)
            raise
        return tally.stored(key, self.name)

    def get(
        self, key: str, *, sha256: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return _Opened(self, self._file(key), key, sha256)

    async def size(self, key: str) -> int | None:
        file = self._file(key)
        try:
            return (await self._in_thread(file.stat)).st_size
        except FileNotFoundError:
            return None

    async def delete(self, keys: Sequence[str]) -> None:
        files = [self._file(key) for key in keys]
        await self._in_thread(self._delete, files)

    async def contents(self, under: str = "") -> AsyncGenerator[Listed]:
        top = self.path / check_key(under) if under else self.path
        for directory in await self._in_thread(self._directories, top):
            for listed in await self._in_thread(self._listed, directory):
                yield listed

    async def clear_incoming(self, *, older_than_seconds: float = INCOMING_SECONDS_MAX) -> int:
        """Remove what crashes left half written; returns how many there were."""
        return await self._in_thread(self._clear_incoming, older_than_seconds)

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Never abandoned: what was begun has an end when this returns or raises."""
        try:
            return await trio.to_thread.run_sync(partial(work, *arguments), limiter=self._limiter)
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise ArtifactsRefused(f"artifacts in {self.path}: {error}") from error
        except OSError as error:
            raise ArtifactsFailed(f"artifacts in {self.path}: {error}") from error

    def _file(self, key: str) -> Path:
        return self.path / check_key(key)

    def _begin(self) -> tuple[Path, BinaryIO]:
        folder = self.path / INCOMING
        if not folder.is_dir():
            _make_directories(folder)
        incoming = folder / secrets.token_hex(16)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        return incoming, open(os.open(incoming, flags, 0o600), "wb", buffering=0)

    def _finish(self, output: BinaryIO, rest: bytes, incoming: Path, final: Path) -> None:
        output.write(rest)
        os.fsync(output.fileno())
        output.close()
        while True:
            try:
                _make_directories(final.parent)
                os.replace(incoming, final)
                break
            except FileNotFoundError:  # an emptied directory was removed in between
                if not incoming.exists():
                    raise
        _sync_directory(final.parent)

    def _delete(self, files: list[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)
        for folder in {file.parent for file in files}:
            self._sync_or_remove(folder)

    def _sync_or_remove(self, folder: Path) -> None:
        """The folder, or the first one above that is not empty without it."""
        while folder != self.path:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                break
            folder = folder.parent
        with suppress(FileNotFoundError):  # somebody else emptied it, and removed it
            _sync_directory(folder)

    def _directories(self, top: Path) -> list[Path]:
        found = [Path(folder) for folder, _, _ in os.walk(top)]
        incoming = self.path / INCOMING
        return sorted(folder for folder in found if folder != incoming)

    def _listed(self, folder: Path) -> list[Listed]:
        found = []
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    facts = entry.stat(follow_symlinks=False)
                    key = str(Path(entry.path).relative_to(self.path))
                    found.append(Listed(key, facts.st_size, facts.st_mtime_ns))
            except FileNotFoundError:
                continue
        return found

    def _clear_incoming(self, older_than_seconds: float) -> int:
        before = time.time() - older_than_seconds
        cleared = 0
        for file in list((self.path / INCOMING).glob("*")):
            try:
                if file.stat().st_mtime <= before:
                    file.unlink()
                    cleared += 1
            except FileNotFoundError:
                continue
        return cleared


class _Opened:
    """An artifact that is being read; entering opens the file, so that a missing one is told."""

    def __init__(self, store: FileArtifacts, file: Path, key: str, sha256: str | None) -> None:
        self._store = store
        self._file = file
        self._key = key
        self._sha256 = sha256

    async def __aenter__(self) -> AsyncIterator[bytes]:
        try:
            self._input = await self._store._in_thread(_open, self._file)
        except FileNotFoundError:
            raise ArtifactMissing(self._key, where=str(self._store.path)) from None
        self._reading = compared(self._pieces(), self._key, self._sha256)
        return await self._reading.__aenter__()

    async def __aexit__(self, *problem: object) -> None:
        try:
            await self._reading.__aexit__(None, None, None)
        finally:
            self._input.close()

    async def _pieces(self) -> AsyncGenerator[bytes]:
        while piece := await self._store._in_thread(self._input.read, PIECE_BYTES):
            yield piece


def _open(file: Path) -> BinaryIO:
    return open(file, "rb", buffering=0)


def _abandon(output: BinaryIO, incoming: Path) -> None:
    output.close()
    incoming.unlink(missing_ok=True)


def _make_directories(folder: Path) -> None:
    """Those that are missing, each durable before something is put into it."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(folder.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
