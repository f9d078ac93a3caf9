"""Stores that are wrong about nodes: who is there, and what they may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.placement import NodeInfo, NodeState, SessionHolder, UnheldSession

from ..memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moorage.runtime.commands import Command

NOTHING: frozenset[str] = frozenset()


class HeldSessionsOffered(MemoryStore):
    """Whoever looks for sessions without an owner is told of those that have one."""

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        infos = [info async for info in self.sessions(needs_worker=True)]
        return [UnheldSession(info.id, info.demands) for info in infos][:limit]


class OrphansForgotten(MemoryStore):
    """Nobody is told of a session without an owner."""

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        await super().unheld(limit)
        return []


class OfferIgnored(MemoryStore):
    """A node is told of sessions that it cannot serve."""

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        return await super().unheld(limit)


class DemandsForgotten(MemoryStore):
    """Sessions are told without what they demand."""

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        found = await super().unheld(limit, offer=offer)
        return [UnheldSession(session.session_id, NOTHING) for session in found]


class AnnouncementsForgotten(MemoryStore):
    """What a node announces only itself gets to know."""

    async def announce(self, state: NodeState) -> Mapping[str, NodeState]:
        found = await super().announce(state)
        return {name: state for name, state in found.items() if name == self._node_id}


class NodesStayWhenTheyClose(MemoryStore):
    """A node that has closed is told of as if it were there."""

    async def nodes(self) -> Sequence[NodeInfo]:
        found = {node.id: node for node in await super().nodes()}
        known: dict[str, NodeInfo] = self._content.__dict__.setdefault("known", {})
        known |= found
        return list(known.values())


class HolderToldForEver(MemoryStore):
    """Who had a session is told to have it when it was given up."""

    async def holder(self, session_id: str) -> SessionHolder | None:
        holder = await super().holder(session_id)
        known: dict[str, SessionHolder] = self._content.__dict__.setdefault("holders", {})
        if holder is not None:
            known[session_id] = holder
        return known.get(session_id)


class FirstEpochTold(MemoryStore):
    """Who has a session is told with an epoch that is over."""

    async def holder(self, session_id: str) -> SessionHolder | None:
        holder = await super().holder(session_id)
        return None if holder is None else attrs.evolve(holder, epoch=1)


class LiveWithoutALease(MemoryStore):
    """A node is live for as long as it is open, whether it says anything or not."""

    def told(self, *, sessions: int) -> NodeInfo:
        return attrs.evolve(super().told(sessions=sessions), lease_seconds_left=1.0)


class ServedTold(MemoryStore):
    """What a node could take at once is told as what nobody can serve."""

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        return self._waiting()[:limit]


class UnservedForgotten(MemoryStore):
    """What nobody can serve is never told."""

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        await super().unserved(limit)
        return []


class DrainingNodesServe(MemoryStore):
    """A node that drains counts as one that takes sessions."""

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        offers = [node.state.offer for node in await self.nodes() if node.state is not None]
        waiting = self._waiting()
        found = [one for one in waiting if not any(one.demands <= offer for offer in offers)]
        return found[:limit]


class DemandsOfSessionsIgnored(MemoryStore):
    """A command goes to a node that can serve the command, if not the session."""

    def _serving(self, session_id: str, command: Command) -> MemoryStore:
        return super()._serving("", command)


class DemandsOfCommandsIgnored(MemoryStore):
    """A command goes to a node that can serve the session, if not the command."""

    def _serving(self, session_id: str, command: Command) -> MemoryStore:
        return super()._serving(session_id, attrs.evolve(command, **_undemanding(command)))


def _undemanding(command: Command) -> dict[str, Any]:
    return {name: None for name in ("agent", "node_tags") if hasattr(command, name)}


class SentAwayThoughServed(MemoryStore):
    """A command goes to another node although this one can serve it."""

    def _serving(self, session_id: str, command: Command) -> MemoryStore:
        nodes = [node for node in self._content.nodes if node is not self]
        return nodes[0] if nodes and self._state is not None else self


class HintsForgotten(MemoryStore):
    """Nobody is told that there are sessions to take, except when a node closes."""

    async def tell_unheld(self) -> None:
        self._check_open()


class ClosedInSilence(MemoryStore):
    """A node that closes does not tell that it has left sessions."""

    async def tell_unheld(self) -> None:
        super()._give_hint()

    def _give_hint(self) -> None:
        """Called when it closes."""
