"""Commands to sessions that another process holds: a list on the server for each process.

A command is moved, not taken, from ``inbox:NODE`` to ``doing:NODE``, so that a lost connection
loses none; its answer goes to ``reply:LETTER``. When the lease of the process ends, what nobody
moved is taken back; that, and what was moved and is not answered, goes to whoever has the session
then, under the same letter.

So a command may reach two processes, and is done by one: what it causes and the answer to it are
one script (``answered:LETTER``), which does nothing if there is an answer already. What caused
nothing, a question or a refusal, is answered afterwards, and may be asked twice; so may a drain and
a trim, which come to the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import trio
from coredis.exceptions import RedisError
from coredis.tokens import PureToken
from moorage.runtime.codec import pack, unpack
from moorage.runtime.errors import (
    AdmissionClosed,
    MoorageError,
    SessionHeld,
    StaleOwner,
    StoreFailed,
)

from ..mail import decode_answer, decode_command, encode_answer, encode_command, encode_refusal
from .cluster_scripts import KEPT_SECONDS
from .server import new_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Deliver

    from .server import RedisServer

BLOCK_SECONDS = 1.0
AGAIN_SECONDS = 0.2
HELD_TRIES = 40
HELD_PAUSE_SECONDS = 0.05
TRIES_MAX = 20
"""Of a command whose session fails again and again, before its sender is told so."""
_ELSEWHERE = b""
"""A reply that is none: the session is another process's now, or will be."""
_LOST = (RedisError, OSError, trio.ClosedResourceError, trio.BrokenResourceError)
_log = structlog.get_logger("moorage.stores")


class Inbox:
    """That of the process ``node``. ``holder(session_id)`` is the node with a live lease on it,
    ``serving(session_id, command)`` the one that is to take it if there is none."""

    def __init__(
        self,
        server: RedisServer,
        node: str,
        deliver: Deliver,
        holder: Callable[[str], Awaitable[str | None]],
        serving: Callable[[str, Command], Awaitable[str]],
        is_live: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._server = server
        self._node = node
        self._deliver = deliver
        self._holder = holder
        self._serving = serving
        self._is_live = is_live
        self._active: set[bytes] = set()

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        """Bring it to the owner and return the answer, or raise what it was refused with."""
        letter = ""
        held_elsewhere = 0
        while True:
            node = await self._holder(session_id) or await self._serving(session_id, command)
            if node != self._node:
                letter = letter or new_id()
                body = await self._send(node, letter, session_id, command)
            elif letter:
                body = await self._do_here(letter, session_id, command)
            else:
                try:
                    return await self._deliver(session_id, command)
                except SessionHeld:  # by another node since we looked
                    held_elsewhere += 1
                    if held_elsewhere == HELD_TRIES:
                        raise
                    await trio.sleep(HELD_PAUSE_SECONDS)
                    continue
            if body:
                return decode_answer(body)
            await trio.sleep(HELD_PAUSE_SECONDS)

    async def _send(self, node: str, letter: str, session_id: str, command: Command) -> bytes:
        """The answer, empty if there is none from this node."""
        server, prefix = self._server, self._server.key_prefix
        item = pack([letter, session_id, *encode_command(command)])
        inbox, reply = f"{prefix}inbox:{node}", f"{prefix}reply:{letter}"
        try:
            await server.client.rpush(inbox, [item])
            await server.client.expire(inbox, KEPT_SECONDS)
            gone = 0
            while True:
                found = await server.client.blpop([reply], timeout=BLOCK_SECONDS)
                if found:
                    return bytes(found[1])
                holder = await self._holder(session_id)
                if holder == node or (holder is None and await self._is_live(node)):
                    gone = 0
                    continue
                if await server.client.lrem(inbox, 1, item):
                    return b""
                gone += 1  # it was taken: the answer may be on its way
                if gone > 2:
                    return b""
        except _LOST as error:
            raise self._lost(error) from error

    async def _do_here(self, letter: str, session_id: str, command: Command) -> bytes:
        """Do what another process had, which may have done it, or may do it yet."""
        body = await self._outcome(letter, session_id, *encode_command(command), ours=True)
        if body == _ELSEWHERE:
            return body
        reply = f"{self._server.key_prefix}reply:{letter}"
        try:
            await self._tell(letter, body)
            found = await self._server.client.lpop(reply)
        except _LOST as error:
            raise self._lost(error) from error
        return body if found is None else bytes(found)

    def _lost(self, error: BaseException) -> StoreFailed:
        return StoreFailed(
            f"{self._server.place} was lost while a command waited for its answer: {error}"
        )

    async def run(self) -> None:
        """Answer commands until cancelled."""
        server, prefix = self._server, self._server.key_prefix
        inbox, doing = f"{prefix}inbox:{self._node}", f"{prefix}doing:{self._node}"
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    item = await server.client.blmove(
                        inbox, doing, PureToken.LEFT, PureToken.RIGHT, timeout=BLOCK_SECONDS
                    )
                    for left in [item] if item else await server.client.lrange(doing, 0, -1):
                        if left not in self._active:
                            self._active.add(left)
                            nursery.start_soon(self._answer, left, doing)
                except _LOST:
                    await trio.sleep(AGAIN_SECONDS)

    async def _answer(self, item: bytes, doing: str) -> None:
        letter, session_id, kind, body = unpack(item)
        answer = await self._outcome(letter, session_id, kind, body)
        while True:
            try:
                await self._tell(letter, answer)
                await self._server.client.lrem(doing, 1, item)
                break
            except (*_LOST, StoreFailed) as error:
                _log.warning("answer not written yet", error=str(error))
                await trio.sleep(AGAIN_SECONDS)
        self._active.discard(item)

    async def _tell(self, letter: str, body: bytes) -> None:
        """Answer the letter, unless it has been: it is answered once."""
        server = self._server
        if body == _ELSEWHERE:
            await server.client.rpush(f"{server.key_prefix}reply:{letter}", [body])
            await server.client.expire(f"{server.key_prefix}reply:{letter}", KEPT_SECONDS)
        else:
            await server.insist(
                "answer", [f"{server.key_prefix}meta"], [server.key_prefix, letter, body], ""
            )

    async def _outcome(
        self, letter: str, session_id: str, kind: str, body: bytes, *, ours: bool = False
    ) -> bytes:
        """The encoded answer or refusal. What is lost under a command is no answer: whoever owns
        the session next, we ourselves perhaps, does it, if it was not done. ``ours`` is one that we
        have sent."""
        failure: MoorageError | None = None
        for _ in range(TRIES_MAX):
            try:
                command: Any = decode_command(kind, body)
                return encode_answer(await self._deliver(session_id, command, letter))
            except (SessionHeld, StaleOwner) as error:
                failure = error
            except StoreFailed as error:
                if error.written is not None or error.poisoned:
                    return encode_refusal(error)
                failure = error
            except AdmissionClosed as error:
                elsewhere = error.reason == "closed" and not ours  # we leave, and others do not
                return _ELSEWHERE if elsewhere else encode_refusal(error)
            except MoorageError as error:
                return encode_refusal(error)
            except Exception as error:
                return encode_refusal(StoreFailed(f"the owner of the session failed: {error!r}"))
            try:
                if await self._holder(session_id) not in (None, self._node):
                    return _ELSEWHERE
            except StoreFailed as error:
                failure = error
            await trio.sleep(AGAIN_SECONDS)
        assert failure is not None, "it was tried"
        return encode_refusal(failure)
