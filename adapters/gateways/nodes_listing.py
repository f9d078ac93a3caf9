"""``moorage nodes``: who shares a store, how busy they are, and what nobody can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.adapters.sinks.text import timestamp
from moorage.runtime.placement import agents_in, tags_in

from .frame import note, write
from .remote import Server
from .sources import reading
from .tables import show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moorage.runtime.placement import NodeInfo, UnheldSession

    from .sources import Source

UNSERVED_MAX = 1_000


async def show_nodes(source: Source, *, as_json: bool) -> None:
    """Show nodes, then sessions that wait for one which offers what they demand: a server does
    not tell of these, which is said, or null. Raises InvalidArgument for a store that has one
    process at a time, and StoreFailed."""
    unserved = None
    async with reading(source) as reader:
        nodes = await reader.nodes()
        if not isinstance(source, Server):
            unserved = await reader.unserved(limit=UNSERVED_MAX)
    if as_json:
        show_json(
            {
                "nodes": [node_to_json(node) for node in nodes],
                "unserved": None if unserved is None else [*map(unheld_to_json, unserved)],
            }
        )
        return
    if nodes:
        _show_nodes(nodes)
    else:
        note("no nodes")
    if unserved is None:
        note("sessions that no node can serve are shown with --store, not by a server")
        return
    if unserved:
        write("\n")
        _show_unserved(unserved)
    if len(unserved) == UNSERVED_MAX:
        note(f"there may be more than these {UNSERVED_MAX} sessions that no node can serve")


def _show_nodes(nodes: Sequence[NodeInfo]) -> None:
    rows = []
    for node in nodes:
        state = node.state
        offer = frozenset[str]() if state is None else state.offer
        left = node.lease_seconds_left
        rows.append(
            [
                node.id,
                node.owner,
                _condition(node),
                _tags(offer),
                _agents(offer),
                str(node.sessions),
                "" if state is None else f"{state.load} of {state.capacity}",
                f"{left:.1f} s" if node.live else f"over for {-left:.0f} s",
                timestamp(_opened_at_ns(node)),
            ]
        )
    show_table(
        ["NODE", "OWNER", "STATE", "TAGS", "AGENTS", "SESSIONS", "BUSY", "LEASE", "OPENED"],
        rows,
        numbers=["SESSIONS"],
        states="STATE",
        full=["BUSY"],
    )


def _show_unserved(unserved: Sequence[UnheldSession]) -> None:
    show_table(
        ["SESSION THAT NO NODE CAN SERVE", "TAGS", "AGENTS"],
        [[one.session_id, _tags(one.demands), _agents(one.demands)] for one in unserved],
        full=["SESSION THAT NO NODE CAN SERVE"],
    )


def node_to_json(node: NodeInfo) -> dict[str, Any]:
    """The fields of NodeInfo and NodeState in one map, tags and agents apart; those of the state
    are null of a node that has said nothing."""
    state = node.state
    return {
        "id": node.id,
        "owner": node.owner,
        "state": _condition(node),
        "opened_at_ns": _opened_at_ns(node),
        "lease_seconds_left": node.lease_seconds_left,
        "sessions": node.sessions,
        "node_tags": None if state is None else tags_in(state.offer),
        "agents": None if state is None else list(agents_in(state.offer)),
        "sessions_max": None if state is None else state.sessions_max,
        "sessions_busy": None if state is None else state.sessions_busy,
        "runs_max": None if state is None else state.runs_max,
        "runs_running": None if state is None else state.runs_running,
        "free": None if state is None else state.free,
    }


def unheld_to_json(session: UnheldSession) -> dict[str, Any]:
    """A session with what it demands; an agent of "" is that of runs that name none."""
    return {
        "session_id": session.session_id,
        "node_tags": tags_in(session.demands),
        "agents": list(agents_in(session.demands)),
    }


def _opened_at_ns(node: NodeInfo) -> int:
    return round(node.opened_at * 1_000_000_000)


def _condition(node: NodeInfo) -> str:
    if not node.live:
        return "gone"
    return "draining" if node.state is not None and node.state.draining else "live"


def _tags(words: Iterable[str]) -> str:
    return " ".join(f"{name}={value}" for name, value in tags_in(words).items())


def _agents(words: Iterable[str]) -> str:
    return " ".join(name or "(unnamed)" for name in agents_in(words))
