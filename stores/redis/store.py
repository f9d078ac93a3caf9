"""RedisStore: sessions in a Redis server, shared by any number of processes."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import (
    InvalidArgument,
    SessionHeld,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.ports import Claim, Snapshot

from ..bounds import check_append, check_name, check_seq
from ..mail import answered_before
from .arguments import info_argument, letter_arguments, record_arguments
from .health import inspect
from .inbox import Inbox
from .nodes import RedisNode
from .reading import RedisReader, info_of, is_text
from .server import RedisServer, new_id
from .watch import Watch, tell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Answered, Deliver, Record
    from moorage.runtime.sessions import SessionInfo

    from ..health import HealthReport

CONNECTIONS_MAX = 32
LEASE_SECONDS = 10.0
ANSWER_SECONDS = 5.0
RENEWED_AT_ONCE = 500


@attrs.frozen
class RedisStatistics:
    """Counts since the store was opened; ``resolved`` appends had lost their answer and were found
    to be there; ``waiting`` tasks wait for news."""

    claims: int
    appends: int
    records: int
    resolved: int
    waiting: int


class RedisStore(RedisNode):
    """Sessions in the Redis server at ``url`` (``redis://``, ``rediss://`` or ``unix://``).

    Any number of processes may open it. A session belongs to one of them at a time, by a lease of
    ``lease_seconds`` on the server's clock, and every write is fenced by its epoch; commands reach
    sessions of other processes through a list on the server. ``password`` and ``database`` beat
    those in the URL. At most ``connections_max`` connections are open. All keys begin with
    ``key_prefix``. With ``session_ttl_seconds`` a session is forgotten so long after its last
    event, with its numbering. A call waits ``answer_seconds`` for an answer, and is tried again for
    as long as a lease: an append whose answer was lost is found to be there, or is made again.

    What this store does not promise, since Redis does not:

    - With ``appendonly no``, or ``appendfsync everysec`` (its default), the last second or more of
      what was acknowledged is lost when the server loses power; ``appendfsync always`` keeps it.
    - Replication is asynchronous: after a failover to a replica acknowledged events may be missing.
      An owner notices (its next append is refused with StaleOwner); a reader that had seen them has
      seen too much.
    - A server that restarts empty while the store is open is noticed and everything is refused with
      CorruptLog. One that lost everything while nobody had it open is a new, empty store.
    - A server that may evict keys takes events away at any time: opening refuses it, unless
      ``eviction_allowed`` is true, and then a session that misses some is refused with CorruptLog.
    - Redis Cluster is not supported: a session's keys, and the listing, have to be in one place.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        database: int = 0,
        connections_max: int = CONNECTIONS_MAX,
        key_prefix: str = "moorage:",
        session_ttl_seconds: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        eviction_allowed: bool = False,
    ) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        if type(url) is not str or not url.startswith(("redis://", "rediss://", "unix://")):
            raise InvalidArgument(
                f"url must begin with redis://, rediss:// or unix://, not {url!r}"
            )
        for name, value in (
            ("lease_seconds", lease_seconds),
            ("answer_seconds", answer_seconds),
            ("session_ttl_seconds", 1 if session_ttl_seconds is None else session_ttl_seconds),
        ):
            if type(value) not in (int, float) or not value > 0:
                raise InvalidArgument(f"{name} must be above 0, not {value!r}")
        if session_ttl_seconds is not None and session_ttl_seconds <= lease_seconds:
            raise InvalidArgument(
                f"session_ttl_seconds is {session_ttl_seconds} and must be above lease_seconds, "
                f"{lease_seconds}: or sessions expire while somebody works on them"
            )
        if type(connections_max) is not int or connections_max < 4:
            raise InvalidArgument(f"connections_max must be at least 4, not {connections_max!r}")
        check_name("key_prefix", key_prefix)
        self._server_arguments: dict[str, Any] = {
            "url": url,
            "password": password,
            "database": database,
            "connections_max": connections_max,
            "key_prefix": key_prefix,
            "answer_seconds": answer_seconds,
            "patience_seconds": lease_seconds,
            "eviction_allowed": eviction_allowed,
        }
        super().__init__(RedisServer(**self._server_arguments))
        self._watch = Watch(self._server, self._hinted)
        self._lease_seconds = float(lease_seconds)
        self._expires_ms = int((session_ttl_seconds or 0) * 1_000)
        self._node = ""
        self._holder = ""
        self._claims: dict[str, int] = {}
        self._turns: dict[str, trio.Lock] = {}
        self._inbox: Inbox | None = None
        self._counts = {"appends": 0, "records": 0, "resolved": 0}

    @property
    def lease_seconds(self) -> float | None:
        return self._lease_seconds

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """Be one of the processes that write. Raises StoreFailed: not to be reached, a wrong
        password, a server that may evict keys, a newer format."""
        self._node = new_id()
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._holder = f"{owner} (process {os.getpid()} on {socket.gethostname()}, since {since})"
        problem: BaseException | None = None
        async with self._server.connected(store_id=new_id()):
            self._inbox = Inbox(
                self._server, self._node, deliver, self._live_node, self._serving, self._is_live
            )
            await self._join()
            self._is_open = True
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch.run)
                    nursery.start_soon(self._inbox.run)
                    try:
                        yield
                    except BaseException as error:  # raised again below, not wrapped in a group
                        problem = error
                    await self._end()
                    nursery.cancel_scope.cancel()
            finally:
                self._is_open, self._was_open, self._inbox = False, True, None
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    async def _end(self) -> None:
        """Let go of all sessions, if the server lets us."""
        self._is_open, self._was_open = False, True
        self._watch.board.wake_all()
        with trio.move_on_after(self._lease_seconds, shield=True):
            for session_id, epoch in list(self._claims.items()):
                try:
                    await self._server.ask("release", session_id, str(epoch))
                except StoreFailed:
                    break  # the leases end by themselves
            await self._leave(tell=bool(self._claims))
        self._claims.clear()
        self._turns.clear()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[RedisReader]:
        """Read beside whoever writes; it changes nothing. Raises StoreFailed."""
        server = RedisServer(**self._server_arguments)
        watch = Watch(server)
        reader = RedisReader(server, watch, self._expires_ms)
        problem: BaseException | None = None
        async with server.connected(store_id=""):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch.run)
                    try:
                        yield reader
                    except BaseException as error:
                        problem = error
                    nursery.cancel_scope.cancel()
            finally:
                reader.close()
        if problem is not None:
            try:
                raise problem
            finally:
                del problem

    async def inspect(self) -> HealthReport:
        """Read and check everything, beside all processes; the store need not be open. Raises
        StoreFailed."""
        async with self.reading() as reader:
            return await inspect(reader, expires=self._expires_ms > 0)

    async def claim(self, session_id: str) -> Claim:
        server = self._open()
        await trio.lowlevel.checkpoint_if_cancelled()
        if not is_text(session_id):  # there is none, and an append to it says why
            return Claim(session_id, 0, 0, 1, None, None)
        lease = str(int(self._lease_seconds * 1_000))
        with trio.CancelScope(shield=True):
            answer = await server.ask(
                "claim",
                session_id,
                session_id,
                self._node,
                self._holder,
                lease,
                str(self._expires_ms),
            )
        if answer[0] == b"held":
            raise SessionHeld(f"session {session_id!r}", holder=answer[1].decode())
        _, epoch, head, oldest, info, modified, snapshot_seq, snapshot = answer
        self._claims[session_id] = int(epoch)
        return Claim(
            session_id=session_id,
            epoch=int(epoch),
            head_seq=int(head),
            oldest_seq=int(oldest),
            info=None if info is None else info_of(info, head, modified),
            snapshot=None if snapshot is None else Snapshot(int(snapshot_seq), snapshot),
        )

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        server = self._open()
        lost: list[Claim] = []
        for start in range(0, len(claims), RENEWED_AT_ONCE):
            part = claims[start : start + RENEWED_AT_ONCE]
            keys = [server.keys(claim.session_id)[1] for claim in part]
            answer, _ = await server.insist(
                "renew",
                [f"{server.key_prefix}meta", *keys],
                [str(int(self._lease_seconds * 1_000)), *(str(claim.epoch) for claim in part)],
                part[0].session_id,
            )
            lost += [part[int(place)] for place in answer[1]]
        return lost

    async def release(self, claim: Claim) -> None:
        server = self._open()
        with trio.CancelScope(shield=True):
            await server.ask("release", claim.session_id, str(claim.epoch))
        self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        if self._claims.get(claim.session_id) == claim.epoch:
            del self._claims[claim.session_id]
            self._turns.pop(claim.session_id, None)

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        answered: Sequence[Answered] = (),
    ) -> None:
        self._open()
        session_id = claim.session_id
        check_append(session_id, records, None)
        encoded = info_argument(info)
        last = expected_seq + len(records) - 1
        ended = [
            record.run_id
            for record in records
            if record.run_id is not None and record.type in RUN_TERMINAL_TYPES
        ]
        arguments: list[Any] = [
            str(claim.epoch),
            session_id,
            str(expected_seq),
            str(len(records)),
            encoded,
            str(records[-1].time_ns) if records else "",
            str(self._expires_ms),
            self._server.channel,
            tell(session_id, last, ended),
        ]
        arguments += record_arguments(records)
        arguments += letter_arguments(self._server.key_prefix, answered)
        answer, unsure = await self._write("append", claim, arguments)
        done_before = unsure and answer[0] == b"moved" and records and int(answer[1]) == last
        if done_before:
            self._counts["resolved"] += 1
        elif answer[0] == b"moved":
            raise StaleOwner(
                session_id,
                epoch=claim.epoch,
                current=f"the head is {int(answer[1])} and the append starts at {expected_seq}",
            )
        elif answer[0] == b"new":
            raise InvalidArgument(f"the first append to session {session_id!r} needs an info")
        self._counts["appends"] += 1
        self._counts["records"] += len(records)
        if records:
            self._watch.board.publish(session_id, last, ended)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        self._open()
        check_seq("the seq of a snapshot", snapshot.seq)
        arguments = [str(claim.epoch), str(snapshot.seq), snapshot.body]
        answer, _ = await self._write("save_snapshot", claim, arguments)
        if answer[0] == b"ahead":
            raise InvalidArgument(
                f"a snapshot at seq {snapshot.seq} is ahead of the head, {int(answer[1])}"
            )

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        server = self._open()
        await trio.lowlevel.checkpoint_if_cancelled()
        check_name("cursor name", name)
        check_seq("the seq of a cursor", seq)
        with trio.CancelScope(shield=True):
            answer = await server.ask("save_cursor", session_id, name, str(seq))
        if answer[0] == b"unknown":
            raise UnknownSession(session_id)

    async def trim(self, claim: Claim, before: int) -> None:
        self._open()
        check_seq("what to trim before", before)
        await self._write("trim", claim, [str(claim.epoch), str(before)])

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        server = self._open()
        session_id = claim.session_id
        arguments = [str(claim.epoch), session_id, server.channel, tell(session_id, -1, ())]
        arguments += letter_arguments(server.key_prefix, answered)
        await self._write("delete", claim, arguments)
        self._forget(claim)
        self._watch.board.wake_session(session_id)

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self._open()
        assert self._inbox is not None
        return await self._inbox.hand_over(session_id, command)

    async def _write(self, name: str, claim: Claim, arguments: list[Any]) -> tuple[list[Any], bool]:
        """One write of a claim after the other, each of which cannot be cancelled once begun.

        Raises StaleOwner, UnknownSession, StoreFailed and CorruptLog.
        """
        server, session_id = self._open(), claim.session_id
        turn = self._turns.setdefault(session_id, trio.Lock())
        async with turn:
            with trio.CancelScope(shield=True):
                answer, unsure = await server.insist(
                    name, server.keys(session_id), arguments, session_id
                )
        if answer[0] == b"stale":
            done = unsure and name == "delete" and not answer[1] and not int(answer[3])
            if not done:
                current = f"epoch {answer[1].decode()}" if answer[1] else "nobody"
                raise StaleOwner(
                    session_id, epoch=claim.epoch, current=f"{current} owns the session"
                )
        if answer[0] == b"unknown":
            raise UnknownSession(session_id)
        if answer[0] == b"answered":
            raise answered_before(answer[1].decode())
        return answer, unsure

    def statistics(self) -> RedisStatistics:
        self._open()
        return RedisStatistics(
            claims=len(self._claims),
            waiting=self._watch.board.statistics().waiting,
            **self._counts,
        )
