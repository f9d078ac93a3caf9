"""What an encrypted store raises besides the errors of the port."""

from __future__ import annotations

from moorage.runtime.errors import StoreFailed


class KeyUnavailable(StoreFailed):
    """What is stored cannot be read or written for want of a key; nothing was changed.

    ``key_id`` names the key: a master key of the ring, or the data key of a session, which is gone
    for ever when it was destroyed. ``session_id`` is None where it concerns all of them.
    """

    code = "key_unavailable"
    retryable = False

    def __init__(self, key_id: str, *, reason: str, session_id: str | None = None) -> None:
        where = "" if session_id is None else f" of session {session_id!r}"
        super().__init__(f"key {key_id!r}{where} is not available: {reason}", written=False)
        self.key_id = key_id
        self.session_id = session_id
        self.reason = reason
