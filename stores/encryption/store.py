"""EncryptedStore: any store, with everything that people wrote sealed before it gets there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed
from moorage.runtime.ports import Answered, shared

from ..bounds import check_append
from .bodies import open_info, open_snapshot, seal_info, seal_records, seal_snapshot, sealed_with
from .failures import KeyUnavailable
from .health import inspect
from .key_ring import KeyRing
from .reader import EncryptedReader, closed_at_the_end
from .sealed_commands import open_answer, open_command, seal_answer, seal_command
from .session_keys import SessionKeys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.placement import NodeState, UnheldSession
    from moorage.runtime.ports import (
        Claim,
        Deliver,
        Record,
        SharedStore,
        Snapshot,
        Store,
        StoreReader,
    )
    from moorage.runtime.sessions import SessionInfo

    from ..health import HealthReport
    from .session_keys import SessionCipher
    from .vault import KeyVault


class EncryptedStore(EncryptedReader):
    """``inner``, encrypted at rest.

    Every session has a data key of its own, which ``keys`` wraps and ``vault`` keeps; see
    ``bodies`` for what is sealed and what stays readable. Deleting a session destroys its key, so
    that nothing of it can be read again wherever a copy of the store is. Nodes of a cluster share
    the vault as they share the store.
    """

    def __init__(self, inner: Store, keys: KeyRing, vault: KeyVault) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        if not isinstance(keys, KeyRing):
            raise InvalidArgument(f"keys must be a KeyRing, not {type(keys).__name__}")
        super().__init__(inner, SessionKeys(keys, vault))
        self.inner = inner
        self._new: dict[str, int] = {}
        """Sessions that did not exist when they were claimed, with the epoch of the claim."""

    @property
    def lease_seconds(self) -> float | None:
        return self.inner.lease_seconds

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """As the port says; raises KeyUnavailable if the current key is not the one that the vault
        was used with, or if there are sessions and the vault is new."""
        if self.lease_seconds is not None:
            deliver = self._opening(deliver)
        async with self.inner.opened(owner=owner, deliver=deliver):
            await self._check(self.inner, may_mark=True)
            try:
                yield
            finally:
                self._new.clear()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """As the port says; raises KeyUnavailable as ``opened`` does."""
        async with self.inner.reading() as inner:
            await self._check(inner, may_mark=False)
            yield EncryptedReader(inner, self._keys)

    async def _check(self, reader: StoreReader, *, may_mark: bool) -> None:
        if not await self._keys.check(may_mark=False):
            infos = reader.sessions()
            async with closed_at_the_end(infos):
                async for info in infos:
                    raise KeyUnavailable(
                        self._keys.ring.current,
                        reason=f"the store has sessions, {info.id!r} for one, and the vault was "
                        "never used with any: is it the right one?",
                    )
        if may_mark:
            await self._keys.check(may_mark=True)

    async def claim(self, session_id: str) -> Claim:
        """Raises KeyUnavailable if what the session has cannot be opened for want of a master key.
        One whose own key was destroyed can be claimed, to be deleted, and not be written to."""
        await self._keys.load([session_id])  # before: what fails leaves the session to its owner
        claim = await self.inner.claim(session_id)
        self._new.pop(session_id, None)
        if claim.info is None:
            self._new[session_id] = claim.epoch
            return claim
        try:
            with trio.CancelScope(shield=True):
                opened = await self._opened_claim(claim, claim.info)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.inner.release(claim)
            raise
        return opened

    async def _opened_claim(self, claim: Claim, sealed: SessionInfo) -> Claim:
        key_id = sealed_with(sealed)
        cipher = await self._knowing(claim.session_id, () if key_id is None else (key_id,))
        info = open_info(cipher, sealed)
        if key_id is not None and not cipher.knows(key_id):
            return attrs.evolve(claim, info=info, snapshot=None)
        snapshot = claim.snapshot
        if snapshot is not None:
            snapshot = open_snapshot(cipher, snapshot)
        if cipher.writes_with is None:
            await self._keys.add(claim.session_id)
        return attrs.evolve(claim, info=info, snapshot=snapshot)

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        return await self.inner.renew(claims)

    async def announce(self, state: NodeState) -> Mapping[str, NodeState]:
        return await self._shared.announce(state)

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        return await self._shared.unheld(limit, offer=offer)

    async def tell_unheld(self) -> None:
        await self._shared.tell_unheld()

    async def wait_unheld(self) -> None:
        await self._shared.wait_unheld()

    @property
    def _shared(self) -> SharedStore:
        found = shared(self.inner)
        assert found is not None, "only stores with leases are asked for this"
        return found

    async def release(self, claim: Claim) -> None:
        if self._new.get(claim.session_id) == claim.epoch:
            del self._new[claim.session_id]
        await self.inner.release(claim)

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        answered: Sequence[Answered] = (),
    ) -> None:
        session_id = claim.session_id
        letters = self._sealed_answers(session_id, answered)
        if self._new.get(session_id) == claim.epoch:
            await self._first_append(claim, expected_seq, records, info, letters)
            return
        cipher = await self._writing(claim)
        sealed, sealed_info = _seal(cipher, expected_seq, records, info)
        await self.inner.append(
            claim, expected_seq=expected_seq, records=sealed, info=sealed_info, **letters
        )

    def _sealed_answers(self, session_id: str, answered: Sequence[Answered]) -> dict[str, Any]:
        """As arguments for the store within, which may know of no letters."""
        ring = self._keys.ring
        sealed = [
            Answered(letter, seal_answer(ring, session_id, answer)) for letter, answer in answered
        ]
        return {"answered": sealed} if sealed else {}

    async def _writing(self, claim: Claim) -> SessionCipher:
        """What to write with. Raises StaleOwner if the session was deleted since the claim."""
        cipher = await self._keys.of(claim.session_id)
        if not cipher.has_keys:
            if await self.inner.info(claim.session_id) is None:
                raise StaleOwner(claim.session_id, epoch=claim.epoch, current="it was deleted")
            raise cipher.destroyed()
        return cipher

    async def _first_append(
        self,
        claim: Claim,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None,
        letters: dict[str, Any],
    ) -> None:
        """With a key that no former life of the session had. What the vault has of those was left
        there by a crash: once the append has shown that we own the session, it goes."""
        check_append(claim.session_id, records, info)
        cipher, former = await self._keys.begin(claim.session_id)
        sealed, sealed_info = _seal(cipher, expected_seq, records, info)
        await self.inner.append(
            claim, expected_seq=expected_seq, records=sealed, info=sealed_info, **letters
        )
        del self._new[claim.session_id]
        if former:
            # a sweep finds them, too
            with trio.CancelScope(shield=True), contextlib.suppress(StoreFailed):
                await self._keys.vault.remove(claim.session_id, former)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        cipher = await self._writing(claim)
        await self.inner.save_snapshot(claim, seal_snapshot(cipher, snapshot))

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        await self.inner.save_cursor(session_id, name, seq)

    async def trim(self, claim: Claim, before: int) -> None:
        await self.inner.trim(claim, before)

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        """Delete it and destroy its key. Raises StoreFailed with ``written=None`` if it is deleted
        and the vault could not forget the key: ``sweep_keys`` does it later."""
        # those that come later are of the session's next life, whose owner need not wait for us
        wrapped = (await self._keys.load([claim.session_id]))[0].bodies
        await self.inner.delete(claim, **self._sealed_answers(claim.session_id, answered))
        with trio.CancelScope(shield=True):
            try:
                await self._keys.destroy(claim.session_id, wrapped)
            except StoreFailed as error:
                raise StoreFailed(
                    f"session {claim.session_id!r} is deleted, and its key is still in the vault: "
                    f"call sweep_keys() when that works again: {error.message}"
                ) from error

    async def destroy_key(self, session_id: str) -> None:
        """Make everything of the session unreadable for ever, here and in every copy of the store,
        whoever owns it. It stays in listings, as quarantined, until it is deleted."""
        await self._keys.destroy(session_id)

    async def sweep_keys(self, *, older_than_seconds: float = 3600.0) -> list[str]:
        """Destroy the keys of sessions that do not exist, which a crash in the middle of a deletion
        leaves; returns their ids. What was changed within ``older_than_seconds`` is left alone: a
        session's key is there a moment before the session is."""
        swept = []
        session_ids = self._keys.vault.sessions(older_than_seconds=older_than_seconds)
        async with closed_at_the_end(session_ids):
            async for session_id in session_ids:
                if session_id and await self.inner.info(session_id) is None:
                    await self._keys.destroy(session_id)
                    swept.append(session_id)
        return swept

    async def inspect(self) -> HealthReport:
        """Look at the store inside and open everything that is in it; the store need not be open.
        Raises StoreFailed."""
        return await inspect(self, self._keys.vault)

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        """As the port says; where the store is shared, the command goes sealed."""
        if self.lease_seconds is None:  # it goes from hand to hand in this process
            return await self.inner.hand_over(session_id, command)
        ring = self._keys.ring
        answer = await self.inner.hand_over(session_id, seal_command(ring, session_id, command))
        return open_answer(ring, session_id, answer)

    def _opening(self, deliver: Deliver) -> Deliver:
        """The owner's door for commands that come sealed."""
        ring = self._keys.ring

        async def opened(session_id: str, command: Command, letter: str | None = None) -> Answer:
            answer = await deliver(session_id, open_command(ring, session_id, command), letter)
            return seal_answer(ring, session_id, answer)

        return opened


def _seal(
    cipher: SessionCipher,
    expected_seq: int,
    records: Sequence[Record],
    info: SessionInfo | None,
) -> tuple[list[Record], SessionInfo | None]:
    """Raises KeyUnavailable, and InvalidArgument for what no store can hold."""
    try:
        sealed = seal_records(cipher, expected_seq, records)
        return sealed, None if info is None else seal_info(cipher, info)
    except (UnicodeError, TypeError, OverflowError, AttributeError):
        check_append(cipher.session_id, records, info)  # says it in words
        raise
