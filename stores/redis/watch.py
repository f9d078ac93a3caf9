"""News of sessions: the server's messages are hints, and looking from time to time is the truth."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import trio
from coredis.exceptions import RedisError
from coredis.retry import NoRetryPolicy
from moorage.runtime.codec import pack, unpack
from moorage.runtime.errors import StoreFailed

from ..news import NewsBoard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .server import RedisServer

POLL_SECONDS = 0.5
"""How late a waiting task learns of news whose message was lost."""
AGAIN_SECONDS = 0.2


def tell(session_id: str, head_seq: int, ended_runs: Iterable[str]) -> bytes:
    """The message of an append; a head of -1 says that the session is deleted."""
    return pack([session_id, head_seq, list(ended_runs)])


class Watch:
    """Wakes those who wait for news of a session, here or wherever it is written."""

    def __init__(self, server: RedisServer, on_unheld: Callable[[Any], None] | None = None) -> None:
        """``on_unheld`` is called with the node that tells of sessions to take, None when such a
        message may have been missed."""
        self.board = NewsBoard()
        self._on_unheld = on_unheld
        self._server = server
        self._waited: Counter[str] = Counter()
        self._seen: dict[str, int] = {}

    async def wait(self, session_id: str, *, after: int, run_id: str | None) -> None:
        """Return when there is news; the caller has announced itself by ``expect``."""
        await self.board.wait(session_id, after=after, run_id=run_id)

    def expect(self, session_id: str) -> None:
        self._waited[session_id] += 1

    def leave(self, session_id: str) -> None:
        self._waited[session_id] -= 1
        if not self._waited[session_id]:
            del self._waited[session_id]
            self._seen.pop(session_id, None)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.board.run)
            nursery.start_soon(self._listen)
            nursery.start_soon(self._look)

    async def _listen(self) -> None:
        server, on_unheld = self._server, self._on_unheld
        channels = [server.channel] if on_unheld is None else [server.channel, server.nodes_channel]
        while True:
            try:
                subscribed = self._server.client.pubsub(
                    channels=channels,
                    ignore_subscribe_messages=True,
                    retry_policy=NoRetryPolicy(),
                )
                async with subscribed as messages:
                    if on_unheld is not None:
                        on_unheld(None)
                    async for message in messages:
                        if on_unheld is None or message["channel"] == server.channel.encode():
                            self._take(message)
                        else:
                            on_unheld(message["data"])
            except* (RedisError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the poll goes on
            await trio.sleep(AGAIN_SECONDS)

    def _take(self, message: Any) -> None:
        try:
            session_id, head_seq, ended = unpack(message["data"])
        except (ValueError, TypeError):
            return  # not ours
        if head_seq < 0:
            self.board.wake_session(session_id)
        else:
            self.board.publish(session_id, head_seq, ended)

    async def _look(self) -> None:
        while True:
            await trio.sleep(POLL_SECONDS)
            for session_id in list(self._waited):
                try:
                    answer = await self._server.ask("look", session_id, session_id, "1", "")
                except StoreFailed:
                    self.board.wake_session(session_id)  # who asks now meets the error
                    continue
                head = int(answer[1]) if answer[3] is not None else -1
                if head != self._seen.get(session_id):
                    self._seen[session_id] = head
                    self.board.wake_session(session_id)
