"""A vault in a directory: one small file per session, replaced as a whole.

::

    vault/            0700
      3f/3fa9...      0600, by the SHA-256 of the session id: [1, session id, [wrapped key, ...]]
      3f/LOCK         flock, held while something beside it is changed
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from moorage.runtime.codec import pack, unpack
from moorage.runtime.errors import CorruptLog, InvalidArgument, StoreFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")

_THREADS_MAX = 16
_LISTED_AT_ONCE = 256


class FileVault:
    """A vault in the directory ``path``, which processes of one machine may share."""

    def __init__(self, path: str | Path) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        try:
            self.path = Path(path).absolute()
        except TypeError as error:
            raise InvalidArgument(f"a vault needs the path of a directory: {error}") from None
        self._limiter = trio.CapacityLimiter(_THREADS_MAX)

    async def load(self, session_ids: Sequence[str]) -> dict[str, list[bytes]]:
        return await self._in_thread(self._load, list(session_ids))

    async def add(self, session_id: str, wrapped: bytes) -> None:
        await self._in_thread(self._change, session_id, lambda keys: [*keys, wrapped])

    async def remove(self, session_id: str, wrapped: Sequence[bytes] | None = None) -> None:
        def without(keys: list[bytes]) -> list[bytes]:
            return [] if wrapped is None else [key for key in keys if key not in wrapped]

        await self._in_thread(self._change, session_id, without)

    async def sessions(self, *, older_than_seconds: float = 0.0) -> AsyncIterator[str]:
        files = await self._in_thread(self._files)
        before = time.time() - older_than_seconds
        for at in range(0, len(files), _LISTED_AT_ONCE):
            part = files[at : at + _LISTED_AT_ONCE]
            for session_id in await self._in_thread(self._ids, part, before):
                yield session_id

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Never abandoned: what was begun has an end when this returns or raises."""
        try:
            return await trio.to_thread.run_sync(partial(work, *arguments), limiter=self._limiter)
        except OSError as error:
            raise StoreFailed(f"the key vault in {self.path} failed: {error}") from error

    def _file(self, session_id: str) -> Path:
        name = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()
        return self.path / name[:2] / name

    def _load(self, session_ids: list[str]) -> dict[str, list[bytes]]:
        found = {id: self._read_unlocked(self._file(id)) for id in session_ids}
        return {id: keys for id, keys in found.items() if keys}

    def _read_unlocked(self, file: Path) -> list[bytes]:
        try:
            return self._read(file)[1]
        except CorruptLog:  # it may have been overwritten, to be forgotten, while it was read
            with self._locked(file.parent):
                return self._read(file)[1]

    def _read(self, file: Path) -> tuple[str, list[bytes]]:
        try:
            body = file.read_bytes()
        except FileNotFoundError:
            return "", []
        try:
            version, name, keys = unpack(body)
            if version != 1:
                raise ValueError(f"version {version!r}")
            return name.decode("utf-8", "surrogatepass"), list(keys)
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptLog(file=str(file), offset=0, reason=f"no wrapped keys: {error}") from None

    def _change(self, session_id: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
        file = self._file(session_id)
        with self._locked(file.parent):
            before = self._read(file)[1]
            after = change(before)
            if after == before:
                return
            if after:
                name = session_id.encode("utf-8", "surrogatepass")
                self._replace(file, pack([1, name, after]), len(before) > len(after))
            else:
                _forget(file)

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        for directory in (self.path, folder):
            if not directory.is_dir():
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync_directory(directory.parent)
        descriptor = os.open(folder / "LOCK", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # told to let go, and not only closed: a fork from meanwhile has it open as well
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _replace(self, file: Path, body: bytes, keys_are_removed: bool) -> None:
        new = file.with_name(f"{file.name}.new")
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as output:
            output.write(body)
            output.flush()
            os.fsync(output.fileno())
        old = file.with_name(f"{file.name}.old")
        old.unlink(missing_ok=True)
        if keys_are_removed:
            os.link(file, old)
        os.replace(new, file)
        _sync_directory(file.parent)
        if keys_are_removed:
            _forget(old)

    def _files(self) -> list[Path]:
        return [file for file in self.path.glob("??/*") if not file.suffix and file.name != "LOCK"]

    def _ids(self, files: list[Path], before: float) -> list[str]:
        ids = []
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime <= before:
                    ids.append(self._read(file)[0])
        return [id for id in ids if id]


def _forget(file: Path) -> None:
    """Overwritten first: on media that write in place even the blocks do not keep it."""
    _overwrite(file)
    file.unlink(missing_ok=True)
    _sync_directory(file.parent)


def _overwrite(file: Path) -> None:
    try:
        with open(file, "r+b") as output:
            output.write(bytes(file.stat().st_size))
            output.flush()
            os.fsync(output.fileno())
    except FileNotFoundError:
        pass


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
