"""The reading half of the store port, the same for the owner and for readers beside it."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.codec import decode_event, decode_struct, unpack
from moorage.runtime.errors import CursorExpired, StoreFailed, UnknownSession
from moorage.runtime.placement import NodeInfo, NodeState, SessionHolder, UnheldSession
from moorage.runtime.ports import Page, Snapshot, StoredRun
from moorage.runtime.sessions import SessionInfo, SessionState

from ..bounds import SEQ_MAX, check_limit
from .scripts import SCAN_RECORDS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .server import RedisServer
    from .watch import Watch

HELD_AT_ONCE = 1_000
"""Sessions of which one script says who has them."""
LISTED_AT_ONCE = 32
"""Sessions that a listing asks for at the same time."""


@attrs.frozen
class RedisReaderStatistics:
    """``waiting`` tasks wait for news."""

    waiting: int


class RedisReading:
    """``_server`` and ``_watch`` are there from the start; ``_is_open`` says whether to use it."""

    _server: RedisServer
    _watch: Watch
    _is_open = False
    _was_open = False
    _expires_ms = 0

    def _open(self) -> RedisServer:
        if not self._is_open:
            reason = "closed" if self._was_open else "not open: use it within `async with`"
            raise StoreFailed(f"the store in {self._server.place} is {reason}", written=False)
        return self._server

    async def _look(self, session_id: str, run_id: str | None = None) -> list[Any]:
        expires = str(self._expires_ms)
        return await self._open().ask("look", session_id, session_id, expires, run_id or "")

    async def info(self, session_id: str) -> SessionInfo | None:
        self._open()
        if not is_text(session_id):
            return None
        _, head, _, info, modified, *_ = await self._look(session_id)
        return None if info is None else info_of(info, head, modified)

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncGenerator[SessionInfo]:
        server = self._open()
        listed = await server.listed()
        wanted = [session_id for session_id in listed if session_id.startswith(prefix)]
        for start in range(0, len(wanted), LISTED_AT_ONCE):
            part = wanted[start : start + LISTED_AT_ONCE]
            found: dict[str, SessionInfo | None] = {}

            async def look(session_id: str, found: dict[str, SessionInfo | None] = found) -> None:
                found[session_id] = await self.info(session_id)

            async with _bare_nursery() as nursery:
                for session_id in part:
                    nursery.start_soon(look, session_id)
            for session_id in part:
                info = found[session_id]
                if info is None or (needs_worker and not info.needs_worker):
                    continue
                if not tags or tags.items() <= info.tags.items():
                    yield info

    async def _live_node(self, session_id: str) -> str | None:
        """The process that has a live lease on the session."""
        answer = await self._look(session_id)
        return answer[5].decode() if isinstance(answer[5], bytes) else None

    async def _waiting(self) -> list[UnheldSession]:
        """Sessions that need a worker, whether they have one or not, the longest waiting first."""
        infos = [info async for info in self.sessions(needs_worker=True)]
        return [UnheldSession(info.id, info.demands) for info in reversed(infos)]

    async def _known_nodes(self) -> list[NodeInfo]:
        """Without how many sessions they have."""
        server = self._open()
        keys = [f"{server.key_prefix}meta", f"{server.key_prefix}nodes"]
        answer, _ = await server.insist("nodes", keys, [], "")
        return nodes_in(answer)

    async def nodes(self) -> list[NodeInfo]:
        """See NodesReader. Looks at every session."""
        server = self._open()
        listed = await server.listed()
        held: Counter[str] = Counter()
        for start in range(0, len(listed), HELD_AT_ONCE):
            part = [server.keys(session_id)[1] for session_id in listed[start:][:HELD_AT_ONCE]]
            answer, _ = await server.insist("held", [f"{server.key_prefix}meta", *part], [], "")
            held.update(node.decode() for node in answer[1])
        return [attrs.evolve(node, sessions=held[node.id]) for node in await self._known_nodes()]

    async def holder(self, session_id: str) -> SessionHolder | None:
        """See HolderReader."""
        server = self._open()
        if not is_text(session_id):
            return None
        answer, _ = await server.insist("holder", server.keys(session_id)[:2], [], session_id)
        if len(answer) == 1:
            return None
        node, owner, epoch, left = answer[1:]
        return SessionHolder(node.decode(), owner.decode(), int(epoch), int(left) / 1_000)

    async def unserved(self, limit: int) -> list[UnheldSession]:
        """See NodesReader. Looks at every session that needs a worker."""
        nodes = await self._known_nodes()
        found: list[UnheldSession] = []
        for session in await self._waiting():
            if len(found) == limit:
                break
            served = any(node.serves(session.demands) for node in nodes)
            if not served and await self._live_node(session.session_id) is None:
                found.append(session)
        return found

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
        server = self._open()
        check_limit(limit)
        if not is_text(session_id):
            raise UnknownSession(session_id)
        words = sorted(types) if types is not None else []
        answer = await server.ask(
            "page",
            session_id,
            session_id,
            str(self._expires_ms),
            str(after),
            str(SEQ_MAX if before is None else max(before, 0)),
            str(limit),
            "1" if backwards else "0",
            "" if run_id is None else f"={run_id}",
            str(SCAN_RECORDS_MAX),
            *(words or ([""] if types is not None else [])),
        )
        if answer[0] == b"unknown":
            raise UnknownSession(session_id)
        if answer[0] == b"expired":
            raise CursorExpired(session_id, after=after, oldest_seq=int(answer[1]))
        _, head, oldest, info, scanned, entries = answer
        events = [decode_event(session_id, int(seq), body) for seq, body in entries]
        if backwards:
            events.reverse()
        return Page(
            events=events,
            scanned_to=int(scanned),
            head_seq=int(head),
            oldest_seq=int(oldest),
            closed=decode_struct(info, SessionInfo).state is SessionState.CLOSED,
        )

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        answer = await self._find(session_id, "run", run_id)
        if not answer:
            return None
        head, *entries = answer
        events = [decode_event(session_id, int(seq), body) for seq, body in entries]
        return StoredRun(events[0], events[1] if len(events) > 1 else None, int(head))

    async def find_key(self, session_id: str, key: str) -> str | None:
        answer = await self._find(session_id, "key", key)
        return answer[0].decode() if answer else None

    async def snapshot(self, session_id: str) -> Snapshot | None:
        answer = await self._find(session_id, "snapshot", "")
        if not answer or answer[0] is None:
            return None
        return Snapshot(int(answer[0]), answer[1])

    async def cursor(self, session_id: str, name: str) -> int | None:
        answer = await self._find(session_id, "cursor", name)
        return int(answer[0]) if answer and answer[0] is not None else None

    async def cursors(self, session_id: str) -> dict[str, int]:
        answer = await self._find(session_id, "cursors", "")
        if not answer:
            return {}
        names, seqs = answer[0][::2], answer[0][1::2]
        return {name.decode(): int(seq) for name, seq in zip(names, seqs, strict=True)}

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        """See StoreReader. Looks at every key of the database, a thousand at a time."""
        for session_id, head_seq in await self._open().buried():
            yield session_id, head_seq

    async def _find(self, session_id: str, what: str, name: str) -> list[Any]:
        server = self._open()
        if not (is_text(session_id) and is_text(name)):
            return []
        answer = await server.ask("find", session_id, what, name)
        return [] if answer[0] == b"unknown" else answer[1:]

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self._open()
        watch = self._watch
        watch.expect(session_id)
        try:
            answer = await self._look(session_id, run_id)
            head, info, ended = int(answer[1]), answer[3], answer[7]
            if info is None or (ended if run_id is not None else head > after):
                return
            if self._is_open:
                await watch.wait(session_id, after=after, run_id=run_id)
        finally:
            watch.leave(session_id)


class RedisReader(RedisReading):
    """Reads a store that others write to; it changes nothing."""

    def __init__(self, server: RedisServer, watch: Watch, expires_ms: int) -> None:
        self._server = server
        self._watch = watch
        self._expires_ms = expires_ms
        self._is_open = True

    def close(self) -> None:
        self._is_open, self._was_open = False, True
        self._watch.board.wake_all()

    def statistics(self) -> RedisReaderStatistics:
        return RedisReaderStatistics(self._watch.board.statistics().waiting)


def nodes_in(answer: list[Any]) -> list[NodeInfo]:
    """Nodes as the scripts ``nodes`` and ``announce`` tell them, the first to come first."""
    _, now, entries = answer
    found = []
    for name, value in zip(entries[::2], entries[1::2], strict=True):
        until, _, record = value.partition(b":")
        owner, opened_at, told = unpack(record)
        state = None if told is None else NodeState(frozenset(told[0]), *told[1:])
        left = (int(until) - int(now)) / 1_000
        found.append(NodeInfo(name.decode(), owner, opened_at, left, 0, state))
    return sorted(found, key=lambda node: (node.opened_at, node.id))


def info_of(info: bytes, head: bytes, modified: bytes | None) -> SessionInfo:
    """The listing facts of a session, as they are kept apart."""
    found = decode_struct(info, SessionInfo)
    return attrs.evolve(
        found,
        head_seq=int(head),
        modified_at_ns=found.modified_at_ns if modified is None else int(modified),
    )


def is_text(name: str) -> bool:
    """Whether a session, a run or a cursor of a store may have this name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False  # nothing in a store has such a name
    return True


@contextlib.asynccontextmanager
async def _bare_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery whose first StoreFailed leaves bare."""
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except* StoreFailed as group:
        failure = group
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
    if failure is not None:
        raise failure
