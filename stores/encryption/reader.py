"""Reading through a store whose content is sealed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

import attrs
from moorage.runtime.ports import Page, Snapshot, StoredRun, holder_reader, nodes_reader

from .bodies import open_events, open_info, open_snapshot, sealed_with
from .sealing import NotSealed, key_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from moorage.runtime.events import Event
    from moorage.runtime.placement import NodeInfo, SessionHolder, UnheldSession
    from moorage.runtime.ports import OrderedReader, StoreReader
    from moorage.runtime.sessions import SessionInfo

    from .session_keys import SessionCipher, SessionKeys

_LISTED_AT_ONCE = 64
"""Sessions whose keys are asked of the vault in one go."""


@attrs.frozen
class EncryptionStatistics:
    """``inner`` is the wrapped store's own."""

    inner: Any


class EncryptedReader:
    """``StoreReader`` over another one. Everything raises KeyUnavailable besides."""

    def __init__(self, inner: StoreReader, keys: SessionKeys) -> None:
        self._reader = inner
        self._keys = keys

    async def info(self, session_id: str) -> SessionInfo | None:
        info = await self._reader.info(session_id)
        return None if info is None else await self._open_info(info)

    async def nodes(self) -> Sequence[NodeInfo]:
        return await nodes_reader(self._reader).nodes()

    async def holder(self, session_id: str) -> SessionHolder | None:
        return await holder_reader(self._reader).holder(session_id)

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        return await nodes_reader(self._reader).unserved(limit)

    async def _open_info(self, info: SessionInfo) -> SessionInfo:
        key_id = sealed_with(info)
        cipher = await self._knowing(info.id, () if key_id is None else (key_id,))
        return open_info(cipher, info)

    async def _knowing(self, session_id: str, key_ids: Iterable[bytes]) -> SessionCipher:
        """A cipher that has these keys, as far as the vault has them now."""
        cipher = await self._keys.of(session_id)
        if not all(map(cipher.knows, key_ids)):
            (cipher,) = await self._keys.load([session_id])
        return cipher

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        """See the port; tags are compared here, since the store inside does not know them."""
        infos = self._reader.sessions(prefix=prefix, needs_worker=needs_worker)
        async with closed_at_the_end(infos):
            batch: list[SessionInfo] = []
            async for info in infos:
                batch.append(info)
                if len(batch) >= _LISTED_AT_ONCE:
                    for opened in await self._listed(batch, tags, needs_worker):
                        yield opened
                    batch = []
            for opened in await self._listed(batch, tags, needs_worker):
                yield opened

    @property
    def session_page(self) -> Callable[..., Awaitable[list[SessionInfo]]]:
        """As OrderedReader says, where the wrapped store has it too: neither ids nor times are
        sealed. Raises AttributeError where it has not."""
        inner = cast("OrderedReader", self._reader).session_page

        async def page(**asked: Any) -> list[SessionInfo]:
            opened: list[SessionInfo] = []
            sealed = list(await inner(**asked))
            for start in range(0, len(sealed), _LISTED_AT_ONCE):
                opened += await self._listed(sealed[start : start + _LISTED_AT_ONCE], None, False)
            return opened

        return page

    async def _listed(
        self, batch: list[SessionInfo], tags: dict[str, str] | None, needs_worker: bool
    ) -> list[SessionInfo]:
        missing = [info.id for info in batch if self._keys.cached(info.id) is None]
        if missing:
            await self._keys.load(missing)
        infos = [await self._open_info(sealed) for sealed in batch]
        return [
            info
            for info in infos
            if (not needs_worker or info.needs_worker)
            and (not tags or tags.items() <= info.tags.items())
        ]

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1_000,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> Page:
        page = await self._reader.read(
            session_id,
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )
        if not page.events:
            return page
        return Page(
            events=await self._open_events(session_id, page.events),
            scanned_to=page.scanned_to,
            head_seq=page.head_seq,
            oldest_seq=page.oldest_seq,
            closed=page.closed,
        )

    async def _open_events(self, session_id: str, events: list[Event]) -> list[Event]:
        cipher = await self._knowing(session_id, _key_ids(event.data for event in events))
        return open_events(cipher, events)

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await self._reader.wait_news(session_id, after=after, run_id=run_id)

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        found = await self._reader.find_run(session_id, run_id)
        if found is None:
            return None
        sealed = [found.submitted] if found.ended is None else [found.submitted, found.ended]
        events = await self._open_events(session_id, sealed)
        return StoredRun(
            submitted=events[0],
            ended=events[1] if len(events) > 1 else None,
            head_seq=found.head_seq,
        )

    async def find_key(self, session_id: str, key: str) -> str | None:
        cipher = await self._keys.of(session_id)
        run_id = await self._find_key(cipher, key)
        if run_id is None:  # it may have been written under a key that came since
            (newer,) = await self._keys.load([session_id])
            run_id = None if newer is cipher else await self._find_key(newer, key)
        return run_id

    async def _find_key(self, cipher: SessionCipher, key: str) -> str | None:
        for hashed in cipher.hashed(key):
            run_id = await self._reader.find_key(cipher.session_id, hashed)
            if run_id is not None:
                return run_id
        return None

    async def snapshot(self, session_id: str) -> Snapshot | None:
        snapshot = await self._reader.snapshot(session_id)
        if snapshot is None:
            return None
        cipher = await self._knowing(session_id, _key_ids([snapshot.body]))
        return open_snapshot(cipher, snapshot)

    async def cursor(self, session_id: str, name: str) -> int | None:
        return await self._reader.cursor(session_id, name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        return await self._reader.cursors(session_id)

    async def tombstones(self) -> AsyncIterator[tuple[str, int]]:
        tombstones = self._reader.tombstones()
        async with closed_at_the_end(tombstones):
            async for tombstone in tombstones:
                yield tombstone

    def statistics(self) -> EncryptionStatistics:
        return EncryptionStatistics(self._reader.statistics())


@contextlib.asynccontextmanager
async def closed_at_the_end(iterator: object) -> AsyncGenerator[None]:
    """Close it if it is a generator: one that is dropped in the middle must not linger."""
    try:
        yield
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


def _key_ids(bodies: Iterable[Any]) -> set[bytes]:
    """Of those that are sealed; what is not is found out when it is opened."""
    found = set()
    for body in bodies:
        if type(body) is bytes:
            try:
                found.add(key_id_of(body))
            except NotSealed:
                continue
    return found
