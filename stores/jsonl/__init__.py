"""One file of JSON lines for each session, for people who read their sessions with cat and jq.

::

    LOCK                     held by the owner, says who it is
    store.json               counts the openings
    sessions/user-1.jsonl    the events of a session, append-only (lines.py, names.py)
    snapshots/user-1.json    its latest snapshot (snapshots.py)
    cursors.jsonl            the named cursors of all sessions (cursors.py)
    index.jsonl              what all sessions are about, made again when missing (index.py)
    commits/00000007         what was written since the files were last synced (commit_log.py)

``writing`` fences and makes lines, all that arrived meanwhile becomes one frame of the commit log,
and then ``files`` writes it where it belongs. ``scanning`` checks what a file holds, ``loading``
makes the index of a session that reads select by (``reads``); ``opening`` does again what a crash
cut short, ``rewriting`` frees what was trimmed, ``reading`` reads beside an owner (``redone``: when
there is none, and something is left to do).
"""

from .opening import JsonlRecovery, TornTail
from .store import JsonlStatistics, JsonlStore

__all__ = ["JsonlRecovery", "JsonlStatistics", "JsonlStore", "TornTail"]
