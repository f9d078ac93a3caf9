"""Which node of a cluster takes which session: what sessions demand, what nodes offer, and shares.

Demands and offers are sets of words, ``tag:NAME=VALUE`` and ``agent:NAME`` (``agent:`` stands for
the agent of runs that name none), so that a store needs to know one thing alone: a node can serve a
session if it offers all that the session demands. Pure: every node comes to the same shares from
the same rows, and no node talks to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TAG = "tag:"
_AGENT = "agent:"


def words_of(node_tags: Mapping[str, str], agents: Iterable[str]) -> frozenset[str]:
    """Tags and agents, demanded or offered, as words. ``agents`` are names, "" stands for the one
    of runs that name none."""
    tags = (f"{_TAG}{name}={value}" for name, value in node_tags.items())
    return frozenset((*tags, *(f"{_AGENT}{name}" for name in agents)))


def tags_in(words: Iterable[str]) -> dict[str, str]:
    """The tags among the words, by name."""
    pairs = sorted(word[len(_TAG) :] for word in words if word.startswith(_TAG))
    return dict(pair.split("=", 1) for pair in pairs)


def agents_in(words: Iterable[str]) -> tuple[str, ...]:
    """The names of agents among the words, in order; "" is that of runs that name none."""
    return tuple(sorted(word[len(_AGENT) :] for word in words if word.startswith(_AGENT)))


@attrs.frozen
class NodeState:
    """What a node says of itself, several times per lease.

    ``sessions_busy`` have work, of ``sessions_max`` that it holds in memory; ``runs_running``
    execute, of ``runs_max`` at once. A ``draining`` node takes nothing.
    """

    offer: frozenset[str]
    sessions_max: int
    runs_max: int
    sessions_busy: int = 0
    runs_running: int = 0
    draining: bool = False

    @property
    def capacity(self) -> int:
        """Sessions that it can work on at once, if each runs one run at a time."""
        return min(self.sessions_max, self.runs_max)

    @property
    def load(self) -> int:
        return max(self.sessions_busy, self.runs_running)

    @property
    def free(self) -> int:
        """How many more sessions could start a run at once."""
        return max(self.capacity - self.load, 0)

    def serves(self, demands: frozenset[str]) -> bool:
        """Whether it would take a session that demands these words."""
        return not self.draining and demands <= self.offer


@attrs.frozen
class NodeInfo:
    """A node as a store knows it. ``lease_seconds_left`` is below 0 when its lease is over,
    ``opened_at`` in seconds since 1970, ``state`` None until it has said something of itself;
    ``sessions`` is how many it holds."""

    id: str
    owner: str
    opened_at: float
    lease_seconds_left: float
    sessions: int
    state: NodeState | None = None

    @property
    def live(self) -> bool:
        return self.lease_seconds_left > 0

    def serves(self, demands: frozenset[str]) -> bool:
        """Whether it is there and would take a session that demands these words."""
        return self.live and self.state is not None and self.state.serves(demands)


@attrs.frozen
class SessionHolder:
    """Who has a session: the node that claimed it last and has not given it up, with the epoch of
    that claim. When ``lease_seconds_left`` is below 0 the lease is over, and whoever claims the
    session next gets it."""

    node_id: str
    owner: str
    epoch: int
    lease_seconds_left: float

    @property
    def live(self) -> bool:
        return self.lease_seconds_left > 0


@attrs.frozen
class UnheldSession:
    """A session that needs a worker and that no live node has."""

    session_id: str
    demands: frozenset[str]


def share_of(
    me: str, waiting: Sequence[UnheldSession], nodes: Mapping[str, NodeState]
) -> list[str]:
    """Ids of those of the sessions that fall to the node ``me``, of the live ``nodes``.

    One after the other, each goes to the node that is least loaded for its size afterwards, of
    those that can serve it and have room in memory: a node without room to start it takes it only
    if all others have none either. Nodes that look at the same rows come to shares that are
    disjoint and leave nothing.
    """
    loads = {name: state.load for name, state in nodes.items()}
    rooms = {name: state.sessions_max - state.sessions_busy for name, state in nodes.items()}
    able: dict[frozenset[str], list[str]] = {}
    share = []
    for session in waiting:
        names = able.get(session.demands)
        if names is None:
            names = able[session.demands] = sorted(
                name for name, state in nodes.items() if state.serves(session.demands)
            )
        chosen, level = None, 0.0
        for name in names:
            filled = (loads[name] + 1) / nodes[name].capacity
            if rooms[name] > 0 and (chosen is None or filled < level):
                chosen, level = name, filled
        if chosen is None:
            continue
        loads[chosen] += 1
        rooms[chosen] -= 1
        if chosen == me:
            share.append(session.session_id)
    return share
