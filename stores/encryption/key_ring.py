"""Master keys: they wrap the data keys of sessions, and touch nothing else."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from moorage.runtime.codec import pack, unpack
from moorage.runtime.errors import InvalidArgument

from .failures import KeyUnavailable
from .sealing import (
    KEY_ID_BYTES,
    NotSealed,
    Opener,
    Sealer,
    check_key,
    key_id_of,
    new_key,
    new_key_id,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_NO_ID = bytes(KEY_ID_BYTES)
_MASTER_ID_CHARACTERS_MAX = 100
_DATA_KEY = b"moorage data key"


class KeyRing:
    """Master keys of 32 bytes by id. New data keys are wrapped with ``current``; the others are
    there to read what was written under them.

    To rotate, add a key and make it current: every session gets a new data key with its next claim.
    What was written before stays under the old key until it is copied (``moorage copy``), and the
    old key stays in the ring as long as anything is.
    """

    def __init__(self, keys: Mapping[str, bytes], *, current: str) -> None:
        """Raises InvalidArgument; messages never contain a key."""
        if current not in keys:
            raise InvalidArgument(f"the current key {current!r} is not among {sorted(keys)}")
        for key_id, key in keys.items():
            if type(key_id) is not str or not 0 < len(key_id) <= _MASTER_ID_CHARACTERS_MAX:
                raise InvalidArgument(
                    f"a key id must be a str of 1 to {_MASTER_ID_CHARACTERS_MAX} characters, "
                    f"not {key_id!r}"
                )
            check_key(f"key {key_id!r}", key)
        self.current = current
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(sorted(self._keys))}; current={self.current})"

    @classmethod
    def generate(cls, key_id: str) -> Self:
        """A ring with one new random key."""
        return cls({key_id: new_key()}, current=key_id)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """``{"current": "k2", "keys": {"k1": "<base64 of 32 bytes>", "k2": ...}}``, as it may come
        from a file or a secret store. Raises InvalidArgument."""
        try:
            value = json.loads(text)
            current = value["current"]
            keys = {
                key_id: base64.b64decode(key, validate=True)
                for key_id, key in value["keys"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise InvalidArgument(
                'a key ring is {"current": ID, "keys": {ID: base64 of 32 bytes}}: '
                f"{type(error).__name__}"
            ) from None
        return cls(keys, current=current)

    def to_json(self) -> str:
        """What ``from_json`` reads: secret."""
        keys = {key_id: base64.b64encode(key).decode() for key_id, key in self._keys.items()}
        return json.dumps({"current": self.current, "keys": keys})

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Of all keys, sorted."""
        return tuple(sorted(self._keys))

    def rotated(self, key_id: str) -> KeyRing:
        """A ring with one more key, new and current. Raises InvalidArgument for an id that this
        one has: what was written under that could not be read any more."""
        if key_id in self._keys:
            raise InvalidArgument(f"the ring has a key {key_id!r} already: give another id")
        return KeyRing({**self._keys, key_id: new_key()}, current=key_id)

    def wrap(self, session_id: str, key_id: bytes, data_key: bytes) -> bytes:
        """A data key under the current master key, for this session only."""
        return self._seal(_DATA_KEY, session_id, key_id, data_key)

    def unwrap(self, session_id: str, wrapped: WrappedKey) -> bytes:
        """The data key. Raises KeyUnavailable if the master key is missing or another one."""
        return self._open(_DATA_KEY, session_id, wrapped)

    def seal(self, purpose: bytes, session_id: str, content: bytes) -> bytes:
        """Something of a session that does not last, under the current master key itself."""
        return self._seal(purpose, session_id, new_key_id(), content)

    def open(self, purpose: bytes, session_id: str, sealed: bytes) -> bytes:
        """What ``seal`` was given. Raises KeyUnavailable as ``unwrap`` does."""
        try:
            return self._open(purpose, session_id, WrappedKey(sealed))
        except ValueError as error:
            raise KeyUnavailable(
                self.current, session_id=session_id, reason=f"nothing was sealed with it: {error}"
            ) from None

    def _seal(self, purpose: bytes, session_id: str, key_id: bytes, content: bytes) -> bytes:
        sealed = Sealer(self._keys[self.current], _NO_ID).seal(
            content, _associated(purpose, session_id, key_id, self.current)
        )
        return pack([1, key_id, self.current, sealed])

    def _open(self, purpose: bytes, session_id: str, wrapped: WrappedKey) -> bytes:
        master = self._keys.get(wrapped.master_id)
        if master is None:
            raise KeyUnavailable(
                wrapped.master_id,
                reason=f"the ring has {sorted(self._keys)}: add the key that this was written with",
            )
        associated = _associated(purpose, session_id, wrapped.key_id, wrapped.master_id)
        try:
            key_id_of(wrapped.sealed)
            return Opener(master).open(wrapped.sealed, associated)
        except NotSealed:
            raise KeyUnavailable(
                wrapped.master_id,
                reason="the ring has another key under this id than the one that this was "
                "written with, or the vault was changed",
            ) from None


class WrappedKey:
    """A data key as a vault keeps it."""

    __slots__ = ("key_id", "master_id", "sealed")

    def __init__(self, body: bytes) -> None:
        """Raises ValueError for what ``KeyRing.wrap`` did not make."""
        try:
            version, self.key_id, self.master_id, self.sealed = unpack(body)
        except (ValueError, TypeError) as error:
            raise ValueError(f"not a wrapped key: {error!r}") from error
        if version != 1 or type(self.key_id) is not bytes or type(self.sealed) is not bytes:
            raise ValueError(f"not a wrapped key of a version that is known: {version!r}")


def _associated(purpose: bytes, session_id: str, key_id: bytes, master_id: str) -> bytes:
    parts = (purpose, session_id.encode("utf-8", "surrogatepass"), key_id, master_id.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
