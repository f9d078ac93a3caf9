"""What a PostgresStore counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .node import Node


@attrs.frozen
class PostgresStatistics:
    """``node`` is this opening's number in the database (0 for a reader), ``claims`` are held,
    ``pending`` writes have not begun, ``waiting`` tasks wait for news, ``sent`` commands for an
    answer. Counted since the store was opened: ``commits``, as many ``syncs`` (which
    are the server's), ``commits_failed``, ``reconnects`` of
    the writer, ``resolved`` commits of which the answer was lost and that were found to be there,
    ``fenced`` writes, ``records`` and their ``bytes``, ``notifications`` that came, ``delivered``
    commands of other nodes."""

    node: int = 0
    claims: int = 0
    pending: int = 0
    waiting: int = 0
    sent: int = 0
    commits: int = 0
    syncs: int = 0
    commits_failed: int = 0
    reconnects: int = 0
    resolved: int = 0
    fenced: int = 0
    records: int = 0
    bytes: int = 0
    notifications: int = 0
    delivered: int = 0
    listening: bool = False


def statistics_of(node: Node, *, claims: int, waiting: int) -> PostgresStatistics:
    """Those of an open store."""
    counts = node.writes.counts
    return PostgresStatistics(
        node=node.number,
        claims=claims,
        pending=node.commits.pending,
        waiting=waiting,
        sent=node.inbox.sent,
        commits=counts.commits,
        syncs=counts.commits,
        commits_failed=counts.commits_failed,
        reconnects=counts.reconnects,
        resolved=counts.resolved,
        fenced=counts.fenced,
        records=counts.records,
        bytes=counts.bytes,
        notifications=node.watch.notifications,
        delivered=node.inbox.delivered,
        listening=node.watch.listening,
    )
