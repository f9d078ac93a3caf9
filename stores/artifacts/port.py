"""The artifact port: where payloads live that are too large for a log.

An artifact is bytes under a key that never change. Its promises, which ``conformance`` checks:

1. ``put`` is durable when it returns, and complete or not there at all.
2. What is read is what was put, or ArtifactDamaged; a stream that ends early raises.
3. ``delete`` is idempotent; what it deleted is gone when it returns.
4. Nothing is held in memory but a piece at a time, in both directions.
5. ArtifactsFailed tells what the place could not do; the same call may be tried again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs
from moorage.runtime.errors import InvalidArgument, MoorageError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

Source = bytes | AsyncIterable[bytes]
"""What is put: all of it, or pieces as they come."""

PIECE_BYTES = 256 * 1024
"""About how much is read at once."""

BINARY = "application/octet-stream"
_PART = re.compile(r"[A-Za-z0-9_=+~-][A-Za-z0-9_=+~.-]{0,199}")
_KEY_CHARACTERS_MAX = 600


class ArtifactsFailed(MoorageError):
    """The place where artifacts are could not do it; the same call may be tried again if
    ``retryable`` says so."""

    code = "artifacts_failed"
    retryable: ClassVar[bool] = True


class ArtifactsRefused(ArtifactsFailed):
    """It will not do it however often it is asked: the credentials, the bucket, the rights."""

    code = "artifacts_refused"
    retryable = False


class ArtifactMissing(MoorageError):
    """There is no artifact under this key (any more)."""

    code = "artifact_missing"

    def __init__(self, key: str, *, where: str) -> None:
        super().__init__(f"there is no artifact {key!r} in {where}")
        self.key = key


class ArtifactDamaged(MoorageError):
    """What was read is not what was put."""

    code = "artifact_damaged"

    def __init__(self, key: str, *, reason: str) -> None:
        super().__init__(f"artifact {key!r} is damaged: {reason}")
        self.key = key
        self.reason = reason


@attrs.frozen
class Stored:
    """What was put: its size in bytes, its SHA-256 in hex, and the name of the store that has
    it."""

    key: str
    bytes: int
    sha256: str
    where: str


@attrs.frozen
class Listed:
    """One artifact in a listing."""

    key: str
    bytes: int
    modified_at_ns: int


class ArtifactStore(Protocol):
    """A place for artifacts. Keys are parts of letters, digits and ``_=+~.-`` with ``/`` between
    them; any other raises InvalidArgument, as does what is not a Source."""

    @property
    def name(self) -> str:
        """What a registry calls this place."""
        ...

    async def put(self, key: str, source: Source, *, media_type: str = BINARY) -> Stored:
        """Keep it; what was there under the key is replaced. Cancelled, or with a source that
        raises, it leaves nothing behind."""
        ...

    def get(
        self, key: str, *, sha256: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Its bytes, in pieces. With ``sha256`` the last piece is followed by ArtifactDamaged if
        they are not the ones. Raises ArtifactMissing on entering."""
        ...

    async def size(self, key: str) -> int | None:
        """In bytes; None if it is not there."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget these; unknown ones are no error."""
        ...

    def contents(self, under: str = "") -> AsyncIterator[Listed]:
        """Every artifact, or those whose key begins with the parts ``under`` and a ``/``."""
        ...


def check_key(key: object) -> str:
    """Return a usable key or raise InvalidArgument."""
    if type(key) is not str or not 0 < len(key) <= _KEY_CHARACTERS_MAX:
        raise InvalidArgument(
            f"the key of an artifact must be a str of 1 to {_KEY_CHARACTERS_MAX} characters, "
            f"not {str(key)[:80]!r}"
        )
    for part in key.split("/"):
        if not _PART.fullmatch(part):
            raise InvalidArgument(
                f"the key {key[:80]!r} has the part {part[:80]!r}: parts are letters, digits and "
                "_=+~.- and do not begin with a dot"
            )
    return key


def check_piece(piece: Any) -> bytes:
    """Of a source. Raises InvalidArgument."""
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise InvalidArgument(f"a source gives bytes, not {type(piece).__name__}")
    return bytes(piece)
