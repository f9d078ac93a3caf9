"""The nodes that share a store in Redis: who is there, and which of them takes what nobody has.

The hash ``nodes`` has a field for each node: when its lease ends (ms), a colon, and what it said of
itself. It is removed when the node closes, and by others a day after it died.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
import trio
from coredis.exceptions import RedisError
from moorage.runtime.codec import pack
from moorage.runtime.commands import demands_of
from moorage.runtime.errors import StoreFailed

from ..hints import Hint
from .reading import RedisReading, is_text, nodes_in

if TYPE_CHECKING:
    from moorage.runtime.commands import Command
    from moorage.runtime.placement import NodeInfo, NodeState, UnheldSession

    from .server import RedisServer

_LOST = (RedisError, OSError, trio.ClosedResourceError, trio.BrokenResourceError)


class RedisNode(RedisReading):
    """What a store does as one of several nodes."""

    _lease_seconds: float
    _node: str
    _holder: str

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._opened_at = 0.0
        self._state: NodeState | None = None
        self._hint = Hint()

    async def announce(self, state: NodeState) -> dict[str, NodeState]:
        self._open()
        self._state = state
        found = await self._tell_state()
        others = {node.id: node.state for node in found if node.live and node.id != self._node}
        return {self._node: state, **{name: it for name, it in others.items() if it is not None}}

    async def _join(self) -> None:
        self._opened_at, self._state = time.time(), None
        await self._tell_state()

    async def _tell_state(self) -> list[NodeInfo]:
        state = self._state
        told = None if state is None else [sorted(state.offer), *attrs.astuple(state)[1:]]
        record = pack([self._holder, self._opened_at, told])
        lease = str(int(self._lease_seconds * 1_000))
        server = self._server
        answer, _ = await server.insist(
            "announce",
            [f"{server.key_prefix}meta", f"{server.key_prefix}nodes"],
            [self._node, lease, record],
            "",
        )
        return nodes_in(answer)

    async def _leave(self, *, tell: bool) -> None:
        """Be no node any more; ``tell`` the others that there may be sessions to take."""
        server = self._server
        try:
            await server.client.hdel(f"{server.key_prefix}nodes", [self._node])
            if tell:
                await server.client.publish(server.nodes_channel, self._node)
        except _LOST:
            pass  # its lease ends by itself

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> list[UnheldSession]:
        """Looks at every session that needs a worker."""
        found: list[UnheldSession] = []
        for session in await self._waiting():
            if len(found) == limit:
                break
            fits = offer is None or session.demands <= offer
            if fits and await self._live_node(session.session_id) is None:
                found.append(session)
        return found

    async def tell_unheld(self) -> None:
        server = self._open()
        try:
            await server.client.publish(server.nodes_channel, self._node)
        except _LOST as error:
            raise StoreFailed(f"{server.place} took no message: {error}", written=False) from error

    async def wait_unheld(self) -> None:
        await self._hint.wait()

    def _hinted(self, teller: bytes | None) -> None:
        """A message of that node has come; None: one may have been missed."""
        if teller != self._node.encode():
            self._hint.give()

    async def _serving(self, session_id: str, command: Command) -> str:
        """The node that a command goes to whose session nobody has: the least loaded, if it is not
        for us to take it."""
        state = self._state
        if state is None or not is_text(session_id):
            return self._node
        info = await self.info(session_id)
        demands = demands_of(command) | (frozenset() if info is None else info.demands)
        if state.serves(demands):
            return self._node
        able = [
            (node.state.load / node.state.capacity, node.id)
            for node in await self._known_nodes()
            if node.state is not None and node.id != self._node and node.serves(demands)
        ]
        return min(able)[1] if able else self._node

    async def _is_live(self, node_id: str) -> bool:
        return any(node.live for node in await self._known_nodes() if node.id == node_id)
