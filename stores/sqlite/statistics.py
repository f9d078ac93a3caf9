"""What a SqliteStore counts."""

from __future__ import annotations

import attrs


@attrs.frozen
class SqliteStatistics:
    """``claims`` are held, ``pending`` writes have not begun, ``waiting`` tasks wait for news,
    ``connections`` read. Counted since the store was opened: ``commits`` (transactions that wrote),
    ``commits_failed``, ``syncs`` (one per commit, two per checkpoint; none when buffered),
    ``records`` and their ``bytes``, and ``checkpoints`` of the write-ahead log."""

    claims: int = 0
    pending: int = 0
    waiting: int = 0
    connections: int = 0
    commits: int = 0
    commits_failed: int = 0
    syncs: int = 0
    records: int = 0
    bytes: int = 0
    checkpoints: int = 0
    poisoned: bool = False
