"""Nodes and what they hold, blocking, on a connection: for threads.

A node is one opening of the store. Its lease is one row, on the database's clock alone; a session
belongs to a node as long as that lives, and the epoch of its last claim decides who may write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import SessionHeld
from moorage.runtime.placement import NodeInfo, NodeState, SessionHolder, UnheldSession
from moorage.runtime.ports import Claim

from ..relational.rows import SessionRow
from . import statements as sql

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ..relational.reads import Reads
    from .place import Connection


def join(connection: Connection, owner: str, lease_seconds: float) -> int:
    """Become a node; returns its number. Forgets those that are gone for a day, and answers that
    nobody collected."""
    with connection.transaction():
        connection.execute(sql.FORGET_NODES)
        connection.execute(sql.FORGET_ANSWERS)
        row = connection.execute(sql.JOIN, (owner, lease_seconds)).fetchone()
    assert row is not None
    return int(row[0])


def leave(connection: Connection, node: int, channel: str) -> None:
    """Give everything up, and tell the other nodes on ``channel`` if that is something to take."""
    connection.execute(sql.LEAVE, {"node": node, "channel": channel})


def claim(
    connection: Connection, reads: Reads, session_id: str, node: int, lease_seconds: float
) -> tuple[int, Claim]:
    """(number of the session, claim), with a lease as of now. Raises SessionHeld."""
    values = (lease_seconds, node, session_id, node)
    row = connection.execute(sql.CLAIM, values, binary=True).fetchone()
    if row is None:
        holder = connection.execute(sql.HOLDER, (session_id,)).fetchone()
        name = "a node that has just ended" if holder is None else f"{holder[1]} (node {holder[0]})"
        raise SessionHeld(f"session {session_id!r}", holder=name)
    session = SessionRow._make(row[:-1])
    info = session.decoded()
    # asked for only now: what the owner before had on its way has come
    snapshot = None if info is None else reads.snapshot(connection, session_id)
    return session.number, Claim(
        session_id=session_id,
        epoch=row[-1],
        head_seq=session.head_seq,
        oldest_seq=session.oldest_seq,
        info=info,
        snapshot=snapshot,
    )


def beat(
    connection: Connection, node: int, lease_seconds: float, numbers: Collection[int]
) -> dict[int, int]:
    """Renew the lease. Returns number -> epoch of those of the sessions that are ours still."""
    if connection.execute(sql.BEAT, (lease_seconds, node)).fetchone() is None:
        return {}
    return dict(connection.execute(sql.HELD, (node, list(numbers))).fetchall())


def release(connection: Connection, number: int, epoch: int, node: int) -> None:
    connection.execute(sql.DISOWN, (number, epoch, node))


def route(
    connection: Connection, session_id: str, demands: frozenset[str], node: int
) -> tuple[int | None, bool]:
    """(the live node that has the session, whether ``node`` is to take it if there is none)."""
    values = {"session_id": session_id, "demands": sorted(demands), "node": node}
    row = connection.execute(sql.ROUTE, values).fetchone()
    assert row is not None
    return row


def announce(
    connection: Connection, node: int, lease_seconds: float, state: NodeState
) -> dict[str, NodeState]:
    """Write down how busy a node is. Returns all live nodes that did, that one first."""
    values = attrs.asdict(state) | {
        "offer": sorted(state.offer),
        "node": node,
        "lease": lease_seconds,
    }
    connection.execute(sql.ANNOUNCE, values)
    found = connection.execute(sql.LIVE_NODES).fetchall()
    others = {str(number): _state(rest) for number, *rest in found if number != node}
    return {str(node): state, **{name: other for name, other in others.items() if other}}


def nodes(connection: Connection) -> list[NodeInfo]:
    """All that the database knows of, with how many sessions each has."""
    return [
        NodeInfo(str(number), owner, opened_at, left, sessions, _state(rest))
        for number, owner, opened_at, left, sessions, *rest in connection.execute(sql.NODES)
    ]


def holder(connection: Connection, session_id: str) -> SessionHolder | None:
    """Who claimed the session last and has not given it up."""
    row = connection.execute(sql.HOLDER_OF, (session_id,)).fetchone()
    return None if row is None else SessionHolder(*row)


def _state(columns: Sequence[Any]) -> NodeState | None:
    offer, *rest = columns
    return None if offer is None else NodeState(frozenset(offer), *rest)


def unheld(connection: Connection, limit: int, offer: frozenset[str] | None) -> list[UnheldSession]:
    """Sessions that need a worker, that no live node has and that the offer serves (None: any),
    the longest waiting first."""
    values = {"limit": limit, "offer": None if offer is None else sorted(offer)}
    return _unheld(connection.execute(sql.UNHELD, values).fetchall())


def unserved(connection: Connection, limit: int) -> list[UnheldSession]:
    """Sessions that need a worker, that no live node has and that none can serve."""
    return _unheld(connection.execute(sql.UNSERVED, {"limit": limit}).fetchall())


def _unheld(rows: Iterable[Sequence[Any]]) -> list[UnheldSession]:
    return [UnheldSession(session_id, frozenset(demands)) for session_id, demands in rows]
