"""Named cursors: how far somebody has got in a session, which the store keeps.

A live subscription holds its name, since it remembers what it has acknowledged. Who reads
elsewhere, such as a client of a gateway, moves a cursor by its name, and holds it only meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .arguments import check_count
from .errors import CursorHeld, InvalidArgument
from .identifiers import check_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .ports import StoreReader
    from .reading import SessionLog
    from .sessions import SessionInfo

Key = tuple[str, str]
"""A session's id, and a name."""


class NamedCursors:
    """The names that are in use in this process. ``save`` stores one; a reader, who may store
    nothing, has none."""

    def __init__(self, save: Callable[[str, str, int], Awaitable[None]] | None = None) -> None:
        self._save = save
        self._held: set[Key] = set()
        self._moving: dict[Key, trio.Lock] = {}

    def hold(self, session_id: str, name: str) -> None:
        """Raises CursorHeld, and InvalidArgument for a reader."""
        if self._save is None:
            raise InvalidArgument("a reader has no named cursors: subscribe without name")
        if (session_id, name) in self._held:
            raise CursorHeld(session_id, name=name)
        self._held.add((session_id, name))

    def release(self, session_id: str, name: str) -> None:
        self._held.discard((session_id, name))

    async def save(self, session_id: str, name: str, seq: int) -> None:
        """Store one that is held."""
        assert self._save is not None, "a held cursor can be saved"
        await self._save(session_id, name, seq)

    async def move(self, store: StoreReader, session_id: str, name: str, seq: int) -> int:
        """Store a cursor unless it is there, or further, already; returns where it is then.

        Those who move the same one at once do so one after the other. Raises CursorHeld while a
        subscription has it, and what the store raises.
        """
        key = session_id, name
        lock = self._moving.get(key)
        if lock is None:
            self.hold(*key)
            lock = self._moving[key] = trio.Lock()
        try:
            async with lock:
                stored = await store.cursor(*key)
                if stored is not None and stored >= seq:
                    return stored
                await self.save(*key, seq)
                return seq
        finally:
            if not lock.locked():  # else it is with the next one already
                del self._moving[key]
                self.release(*key)


class CursorOperations:
    """Moving a session's named cursors without a subscription."""

    if TYPE_CHECKING:
        _log: SessionLog
        _id: str

        async def info(self) -> SessionInfo: ...

    async def acknowledge(self, name: str, seq: int) -> int:
        """Record, durably, that who reads by this name is done with everything up to ``seq``.

        It is ``Subscription.ack`` for those whose events have come another way than by a
        subscription of this process. The cursor never goes back; returns where it is now. Raises
        CursorHeld while a subscription of this process has the name, and InvalidArgument for a seq
        beyond the head.
        """
        check_name("cursor name", name)
        check_count("seq", seq, minimum=1, maximum=(await self.info()).head_seq)
        return await self._log.cursors.move(self._log.store, self._id, name, seq)
