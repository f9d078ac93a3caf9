"""AES-256-GCM, with a key for each writer so that no nonce comes twice.

A key is never used by itself. Whoever seals derives a key of its own from it and 16 random bytes,
and counts nonces under that::

    sealed | format 1 | key id 8 | salt 16 | count 8 | ciphertext | tag 16 |
    writer's key = HMAC-SHA256(key, "moorage sealing 1" + salt)      nonce = 0000 + count

Two writers of one key (a session that moves between processes, one that is claimed again) share
nothing but the key, and a process that is killed needs to remember no count.
"""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from moorage.runtime.errors import InvalidArgument

KEY_BYTES = 32
KEY_ID_BYTES = 8
SALT_BYTES = 16
HEADER_BYTES = 1 + KEY_ID_BYTES + SALT_BYTES + 8
OVERHEAD_BYTES = HEADER_BYTES + 16
"""By how much something sealed is longer."""

_FORMAT = b"\x01"
_PURPOSE = b"moorage sealing 1"
_COUNT_AT = 1 + KEY_ID_BYTES + SALT_BYTES
_OPENERS_MAX = 64
"""Derived keys that one Opener remembers: one for each writer whose bodies it reads."""


class NotSealed(ValueError):
    """These bytes are not what a Sealer made with this key and this associated data."""


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def new_key_id() -> bytes:
    return os.urandom(KEY_ID_BYTES)


def check_key(what: str, key: object) -> bytes:
    """Raise InvalidArgument unless it is 32 bytes; the message never shows them."""
    if type(key) is not bytes or len(key) != KEY_BYTES:
        found = f"{len(key)} bytes" if isinstance(key, bytes) else f"a {type(key).__name__}"
        raise InvalidArgument(f"{what} must be {KEY_BYTES} bytes, not {found}: os.urandom(32)")
    return key


def _derived(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, _PURPOSE + salt, "sha256"))


class Sealer:
    """Seals under ``key``; not for two threads at once."""

    __slots__ = ("_cipher", "_count", "_header")

    def __init__(self, key: bytes, key_id: bytes) -> None:
        salt = os.urandom(SALT_BYTES)
        self._cipher = _derived(key, salt)
        self._header = _FORMAT + key_id + salt
        self._count = 0

    def seal(self, content: bytes, associated: bytes) -> bytes:
        """The content, unreadable and bound to the associated data."""
        count = self._count.to_bytes(8, "big")
        self._count += 1
        return b"".join(
            (self._header, count, self._cipher.encrypt(b"\0\0\0\0" + count, content, associated))
        )


def key_id_of(sealed: bytes) -> bytes:
    """Of the key that opens it. Raises NotSealed."""
    if len(sealed) < OVERHEAD_BYTES or sealed[:1] != _FORMAT:
        raise NotSealed("it is not in a format that this version knows")
    return sealed[1 : 1 + KEY_ID_BYTES]


class Opener:
    """Opens what any Sealer made with ``key``."""

    __slots__ = ("_ciphers", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._ciphers: dict[bytes, AESGCM] = {}

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """What was sealed. Raises NotSealed if a byte of either is another."""
        salt = sealed[1 + KEY_ID_BYTES : _COUNT_AT]
        cipher = self._ciphers.get(salt)
        if cipher is None:
            if len(self._ciphers) >= _OPENERS_MAX:
                self._ciphers.clear()
            cipher = self._ciphers[salt] = _derived(self._key, salt)
        nonce = b"\0\0\0\0" + sealed[_COUNT_AT:HEADER_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[HEADER_BYTES:], associated)
        except InvalidTag:
            raise NotSealed("it is not what was written here") from None
