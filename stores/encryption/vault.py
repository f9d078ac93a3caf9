"""Where the wrapped data keys are: apart from the store, so that forgetting them is final.

A store keeps what it was given in more places than one: in backups, replicas, segments that are not
compacted yet. A vault keeps 150 bytes per session, and what is removed from it must be gone: do
not put it into the same backup as the store, and let backups of its own expire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class KeyVault(Protocol):
    """Wrapped keys by session id; each is bytes that mean nothing to the vault. Methods raise
    StoreFailed; what they did is durable when they return."""

    async def load(self, session_ids: Sequence[str]) -> dict[str, list[bytes]]:
        """The keys of each of these sessions in the order in which they were added; sessions
        without any are left out."""
        ...

    async def add(self, session_id: str, wrapped: bytes) -> None:
        """Keep one more key of the session; those that are there stay."""
        ...

    async def remove(self, session_id: str, wrapped: Sequence[bytes] | None = None) -> None:
        """Forget these keys of the session for ever, or all (None). Unknown ones are no error."""
        ...

    def sessions(self, *, older_than_seconds: float = 0.0) -> AsyncIterator[str]:
        """The sessions of which there are keys, that were not changed for so long."""
        ...


class MemoryVault:
    """A vault that is lost with the process: for tests, and for what need not outlive it."""

    def __init__(self) -> None:
        self._keys: dict[str, list[bytes]] = {}

    async def load(self, session_ids: Sequence[str]) -> dict[str, list[bytes]]:
        return {id: list(self._keys[id]) for id in session_ids if id in self._keys}

    async def add(self, session_id: str, wrapped: bytes) -> None:
        self._keys.setdefault(session_id, []).append(wrapped)

    async def remove(self, session_id: str, wrapped: Sequence[bytes] | None = None) -> None:
        left = [] if wrapped is None else self._keys.get(session_id, [])
        left = [key for key in left if wrapped is not None and key not in wrapped]
        if left:
            self._keys[session_id] = left
        else:
            self._keys.pop(session_id, None)

    async def sessions(self, *, older_than_seconds: float = 0.0) -> AsyncIterator[str]:
        """Every session; nothing here is known to be old."""
        for session_id in list(self._keys):
            if older_than_seconds <= 0:
                yield session_id
