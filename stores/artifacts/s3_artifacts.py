"""Artifacts in an S3 bucket, or in anything that speaks its protocol; needs the extra ``s3``.

obstore's own asynchronous calls need asyncio, so its synchronous ones are made in threads. Each is
one request, or one part of an upload, with a bound in time and in retries of its own.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import obstore
import trio
from moorage.runtime.errors import InvalidArgument
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from .pieces import Tally, compared, pieces_of
from .port import (
    BINARY,
    ArtifactMissing,
    ArtifactsFailed,
    ArtifactsRefused,
    Listed,
    Stored,
    check_key,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from typing import TypeVar

    from .port import Source

    T = TypeVar("T")

PART_BYTES = 8 * 1024 * 1024
"""Of an upload in parts, and of a read: what is in memory for each at a time."""
_PART_BYTES_MIN = 5 * 1024 * 1024
"""S3 takes no smaller part."""
_LISTED_AT_ONCE = 1_000
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_ENDPOINT = re.compile(r"https?://[^\s/?#\x00-\x1f]+\S*")


class S3Artifacts:
    """The artifacts in ``bucket``, below ``prefix``.

    What is None of ``region``, ``access_key_id`` and ``secret_access_key`` comes from where the
    AWS tools look: the environment, a role of the machine. ``endpoint`` is the URL of another
    server than Amazon's. A request that fails with 5xx, 429, a lost connection or after
    ``timeout_seconds`` is made again, at most ``retries_max`` times and ``retry_seconds_max`` long.

    An upload in parts that was cut off by a crash leaves parts that nobody sees and that are paid
    for: give the bucket a lifecycle rule that aborts incomplete uploads.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        requests_at_once: int = 16,
        retries_max: int = 5,
        retry_seconds_max: float = 60.0,
        timeout_seconds: float = 30.0,
        part_bytes: int = PART_BYTES,
        name: str = "s3",
    ) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        _check_settings(bucket, endpoint, part_bytes, retries_max)
        if prefix:
            check_key(prefix)
        self._name = name
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._part_bytes = part_bytes
        self._limiter = trio.CapacityLimiter(requests_at_once)
        given: dict[str, Any] = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
        }
        try:
            self._store = S3Store(
                bucket,
                config={"checksum_algorithm": "sha256"},
                client_options={
                    "timeout": timedelta(seconds=timeout_seconds),
                    "connect_timeout": timedelta(seconds=min(timeout_seconds, 10.0)),
                    "allow_http": (endpoint or "").startswith("http://"),
                },
                retry_config={
                    "max_retries": retries_max,
                    "retry_timeout": timedelta(seconds=retry_seconds_max),
                },
                **{key: value for key, value in given.items() if value is not None},
            )
        except (BaseError, ValueError, TypeError) as error:
            raise InvalidArgument(f"bucket {bucket!r} cannot be used: {error}") from error

    @property
    def name(self) -> str:
        return self._name

    async def put(self, key: str, source: Source, *, media_type: str = BINARY) -> Stored:
        path = self._path(key)
        attributes: Any = {"Content-Type": media_type}
        if isinstance(source, bytes) and len(source) <= self._part_bytes:
            put = partial(obstore.put, attributes=attributes, use_multipart=False)
            await self._call(key, put, self._store, path, source)
            tally = Tally()
            tally.add(source)
            return tally.stored(key, self.name)
        return await self._put_pieces(key, source, attributes)

    async def _put_pieces(self, key: str, source: Source, attributes: Any) -> Stored:
        """In parts. Until the last call, which completes the upload, there is nothing to see."""
        tally = Tally()
        open_writer = partial(
            obstore.open_writer,
            attributes=attributes,
            buffer_size=self._part_bytes,
            max_concurrency=4,
        )
        writer = await self._call(key, open_writer, self._store, self._path(key))
        async for piece in pieces_of(source):
            tally.add(piece)
            await self._call(key, writer.write, piece)
        await self._call(key, writer.close)
        return tally.stored(key, self.name)

    @asynccontextmanager
    async def get(
        self, key: str, *, sha256: str | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        size = await self.size(key)
        if size is None:
            raise ArtifactMissing(key, where=f"bucket {self._bucket!r}")
        async with compared(self._pieces(key, size), key, sha256) as pieces:
            yield pieces

    async def _pieces(self, key: str, size: int) -> AsyncGenerator[bytes]:
        for start in range(0, size, self._part_bytes):
            yield await self._part(key, start, min(self._part_bytes, size - start))

    async def _part(self, key: str, start: int, length: int) -> bytes:
        """One range; where the connection breaks in it, obstore asks for the rest."""
        get_range = partial(obstore.get_range, start=start, length=length)
        part = bytes(await self._call(key, get_range, self._store, self._path(key)))
        if len(part) != length:
            raise ArtifactsFailed(
                f"artifact {key!r}: {len(part)} bytes came from offset {start} on, of {length}"
            )
        return part

    async def size(self, key: str) -> int | None:
        try:
            facts = await self._call(key, obstore.head, self._store, self._path(key))
        except ArtifactMissing:
            return None
        return int(facts["size"])

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [self._path(key) for key in keys]
        if paths:
            await self._call(keys[0], obstore.delete, self._store, paths)

    async def contents(self, under: str = "") -> AsyncGenerator[Listed]:
        prefix = self._prefix + (f"{check_key(under)}/" if under else "")
        pages = obstore.list(self._store, prefix or None, chunk_size=_LISTED_AT_ONCE)
        while page := await self._call(prefix, next, pages, ()):
            for facts in page:
                yield Listed(
                    key=facts["path"].removeprefix(self._prefix),
                    bytes=int(facts["size"]),
                    modified_at_ns=int(facts["last_modified"].timestamp() * 1e9),
                )

    def _path(self, key: str) -> str:
        return self._prefix + check_key(key)

    async def _call(self, key: str, function: Callable[..., T], *arguments: Any) -> T:
        """In a thread, never abandoned; errors become ours."""
        try:
            return await trio.to_thread.run_sync(
                partial(function, *arguments), limiter=self._limiter
            )
        except (NotFoundError, FileNotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise ArtifactsRefused(f"there is no bucket {self._bucket!r}") from error
            raise ArtifactMissing(key, where=f"bucket {self._bucket!r}") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise ArtifactsRefused(f"bucket {self._bucket!r}: {_short(error)}") from error
        except (BaseError, OSError) as error:
            raise ArtifactsFailed(f"bucket {self._bucket!r}: {_short(error)}") from error


def _check_settings(
    bucket: object, endpoint: str | None, part_bytes: int, retries_max: int
) -> None:
    """What obstore would find out with the first request only."""
    if type(bucket) is not str or not _BUCKET.fullmatch(bucket):
        raise InvalidArgument(
            f"a bucket's name has 3 to 63 letters, digits, dots and hyphens, not {bucket!r}"
        )
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        raise InvalidArgument(
            f"the endpoint must be a URL with http:// or https:// and a host, not {endpoint!r}"
        )
    if part_bytes < _PART_BYTES_MIN:
        raise InvalidArgument(f"part_bytes must be at least {_PART_BYTES_MIN}, not {part_bytes}")
    if retries_max < 0:
        raise InvalidArgument(f"retries_max must be at least 0, not {retries_max}")


def _short(error: BaseException) -> str:
    """The first line: what obstore adds is a dump of its structures."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
