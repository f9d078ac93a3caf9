"""The data keys of sessions: loaded from the vault, unwrapped when needed, forgotten on demand."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from moorage.runtime.errors import CorruptLog

from .failures import KeyUnavailable
from .key_ring import KeyRing, WrappedKey
from .sealing import KEY_ID_BYTES, Opener, Sealer, key_id_of, new_key, new_key_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .vault import KeyVault

SESSIONS_CACHED_MAX = 10_000
"""Sessions whose keys are held in memory, some 2 KB each."""

_CHECK = ""
"""The session id, which no session has, under which one key per master key proves that it is the
right one."""
_CHECKED = bytes(32)
_LOADED_AT_ONCE = 256


class SessionCipher:
    """Seals and opens for one session, under whatever keys it has."""

    def __init__(self, session_id: str, ring: KeyRing, wrapped: Iterable[bytes]) -> None:
        self.session_id = session_id
        self.bodies = list(wrapped)
        self._ring = ring
        self._wrapped = {key.key_id: key for key in map(WrappedKey, self.bodies)}
        self._openers: dict[bytes, Opener] = {}
        self._sealer: Sealer | None = None

    @property
    def has_keys(self) -> bool:
        return bool(self._wrapped)

    def knows(self, key_id: bytes) -> bool:
        return key_id in self._wrapped

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Raises KeyUnavailable, and NotSealed for what was changed or moved."""
        key_id = key_id_of(sealed)
        opener = self._openers.get(key_id)
        if opener is None:
            opener = self._openers[key_id] = Opener(self._key(key_id))
        return opener.open(sealed, associated)

    @property
    def writes_with(self) -> bytes | None:
        """The id of a key under the current master key, None if there is none yet."""
        current = self._ring.current
        return next((id for id, key in self._wrapped.items() if key.master_id == current), None)

    def seal(self, content: bytes, associated: bytes) -> bytes:
        """Raises KeyUnavailable."""
        if self._sealer is None:
            key_id = self.writes_with
            if key_id is None:
                raise self.destroyed()
            self._sealer = Sealer(self._key(key_id), key_id)
        return self._sealer.seal(content, associated)

    def hashed(self, key: str) -> list[str]:
        """What stands for an idempotency key in the store, under each data key; the one that is
        written with comes first."""
        writes_with = self.writes_with
        key_ids = sorted(self._wrapped, key=lambda key_id: key_id != writes_with)
        return [self._hash(key_id, key) for key_id in key_ids]

    def _hash(self, key_id: bytes, key: str) -> str:
        content = b"moorage idempotency key" + key.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key(key_id), content, "sha256").hex()[:40]

    def _key(self, key_id: bytes) -> bytes:
        wrapped = self._wrapped.get(key_id)
        if wrapped is None:
            raise self.destroyed(key_id)
        return self._ring.unwrap(self.session_id, wrapped)

    def destroyed(self, key_id: bytes | None = None) -> KeyUnavailable:
        return KeyUnavailable(
            "(any)" if key_id is None else key_id.hex(),
            session_id=self.session_id,
            reason="the vault does not have it: it was destroyed, and what was written under it "
            "cannot be read any more, or this is another vault",
        )


class SessionKeys:
    """Ciphers by session, loaded when they are first asked for; the least recent ones are dropped
    beyond ``SESSIONS_CACHED_MAX``, which costs another look into the vault."""

    def __init__(self, ring: KeyRing, vault: KeyVault) -> None:
        self.ring = ring
        self.vault = vault
        self._ciphers: OrderedDict[str, SessionCipher] = OrderedDict()

    def cached(self, session_id: str) -> SessionCipher | None:
        cipher = self._ciphers.get(session_id)
        if cipher is not None:
            self._ciphers.move_to_end(session_id)
        return cipher

    async def of(self, session_id: str) -> SessionCipher:
        return self.cached(session_id) or (await self.load([session_id]))[0]

    async def load(self, session_ids: Sequence[str]) -> list[SessionCipher]:
        """As the vault has them now."""
        found = await self.vault.load(session_ids)
        return [self._keep(id, found.get(id, ())) for id in session_ids]

    def _keep(self, session_id: str, wrapped: Iterable[bytes]) -> SessionCipher:
        known = self._ciphers.get(session_id)
        bodies = list(wrapped)
        if known is None or known.bodies != bodies:
            known = self._ciphers[session_id] = SessionCipher(session_id, self.ring, bodies)
        self._ciphers.move_to_end(session_id)
        while len(self._ciphers) > SESSIONS_CACHED_MAX:
            self._ciphers.popitem(last=False)
        return known

    async def add(self, session_id: str) -> SessionCipher:
        """With a new data key under the current master key, beside those that are there."""
        await self.vault.add(session_id, self._wrapped(session_id))
        return (await self.load([session_id]))[0]

    async def begin(self, session_id: str) -> tuple[SessionCipher, list[bytes]]:
        """With a new data key alone, and the keys that the vault has of former lives."""
        former = (await self.vault.load([session_id])).get(session_id, [])
        wrapped = self._wrapped(session_id)
        await self.vault.add(session_id, wrapped)
        return self._keep(session_id, [wrapped]), former

    def _wrapped(self, session_id: str) -> bytes:
        return self.ring.wrap(session_id, new_key_id(), new_key())

    async def destroy(self, session_id: str, wrapped: Sequence[bytes] | None = None) -> None:
        """These keys, or all."""
        self._ciphers.pop(session_id, None)
        await self.vault.remove(session_id, wrapped)

    async def check(self, *, may_mark: bool) -> bool:
        """Prove that the current master key is the one that this vault was used with; False if it
        was used with none. ``may_mark`` leaves the proof for the next time. Raises
        KeyUnavailable."""
        bodies = (await self.vault.load([_CHECK])).get(_CHECK, [])
        wrapped = {key.master_id: key for key in map(WrappedKey, bodies)}
        current = self.ring.current
        if current in wrapped:
            self.ring.unwrap(_CHECK, wrapped[current])
        elif may_mark:
            key_id = hashlib.sha256(current.encode()).digest()[:KEY_ID_BYTES]
            await self.vault.add(_CHECK, self.ring.wrap(_CHECK, key_id, _CHECKED))
        return bool(wrapped)


async def sessions_by_master_key(vault: KeyVault) -> dict[str, int]:
    """How many sessions have data keys under each master key, by its id: one that has none is of
    no use any more. Raises StoreFailed, and CorruptLog for what is no wrapped key."""
    counts: Counter[str] = Counter()
    session_ids = [session_id async for session_id in vault.sessions() if session_id != _CHECK]
    for at in range(0, len(session_ids), _LOADED_AT_ONCE):
        found = await vault.load(session_ids[at : at + _LOADED_AT_ONCE])
        for session_id, bodies in found.items():
            try:
                counts.update({WrappedKey(body).master_id for body in bodies})
            except ValueError as error:
                file = f"the vault's keys of session {session_id!r}"
                raise CorruptLog(file=file, offset=0, reason=str(error)) from error
    return dict(counts)
