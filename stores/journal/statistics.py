"""What a journal can tell about itself."""

from __future__ import annotations

import attrs


@attrs.frozen
class JournalStatistics:
    """Counts since the opening (``commits``, ``syncs``, ``records``, ``bytes`` written,
    ``commits_failed``, ``rotations``, ``compactions``) and sizes of now. ``pending`` appends wait
    for the next commit, ``waiting`` tasks for news. ``dead_bytes`` are what compaction would free,
    as of its last look; ``cut_tail_bytes`` what recovery cut off."""

    sessions: int
    tombstones: int
    segments: int
    size_bytes: int
    dead_bytes: int
    claims: int
    pending: int
    waiting: int
    commits: int
    commits_failed: int
    syncs: int
    records: int
    bytes: int
    rotations: int
    compactions: int
    replayed_frames: int
    cut_tail_bytes: int
    poisoned: bool
