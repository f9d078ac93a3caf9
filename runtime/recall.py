"""Bring a session's image back from its log: the latest snapshot, then the events behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .codec import decode_struct
from .errors import CorruptLog, CursorExpired, StoreFailed
from .events import STATE_TYPES
from .image import SessionImage
from .ports import Snapshot
from .sessions import SEALED, SessionInfo

if TYPE_CHECKING:
    from .events import Event
    from .ports import StoreReader

PAGE_EVENTS = 5_000


@attrs.frozen
class Recalled:
    """What a store has of a session. ``info`` is None if the session does not exist, ``snapshot``
    if none was saved; ``image`` is that of the head."""

    info: SessionInfo | None
    snapshot: Snapshot | None
    image: SessionImage


def without_runs(info: SessionInfo) -> SessionImage:
    """An image that has all that the info has: of runs, no more than their counts."""
    image = SessionImage(info.id, head_seq=info.head_seq, state=info.state)
    image.slots, image.tags, image.metadata = info.slots, info.tags, info.metadata
    image.summary, image.created_at_ns = info.summary, info.created_at_ns
    image.outcome, image.reason, image.closed_at_ns = info.outcome, info.reason, info.closed_at_ns
    image.deleted_at_ns, image.expire_after_seconds = info.deleted_at_ns, info.expire_after_seconds
    image.counts, image.node_tags = dict(info.runs), info.node_tags
    return image


async def recall_session(
    store: StoreReader, session_id: str, *, tombstone_seq: int = 0
) -> Recalled:
    """Read a session's info, its snapshot, and what else it takes to know its image.

    ``tombstone_seq`` is the head of a session that does not exist. Raises what ``recall`` raises.
    """
    info = await store.info(session_id)
    if info is None:
        return Recalled(None, None, SessionImage(session_id, head_seq=tombstone_seq))
    snapshot = await store.snapshot(session_id)
    image = await recall(store, session_id, head_seq=info.head_seq, info=info, snapshot=snapshot)
    return Recalled(info, snapshot, image)


async def recall(
    store: StoreReader,
    session_id: str,
    *,
    head_seq: int,
    info: SessionInfo | None,
    snapshot: Snapshot | None,
) -> SessionImage:
    """The image as of ``head_seq``; ``info`` None means that the session does not exist.

    Raises CorruptLog if the log cannot be replayed, StoreFailed if it is encrypted and ``store``
    has no keys, and what reading raises.
    """
    image = SessionImage(session_id)
    if info is not None:
        check_readable(info)
        if snapshot is not None:
            image = _decode(snapshot, session_id)
        after = snapshot.seq if snapshot is not None else 0
        while after < head_seq:
            try:
                page = await store.read(
                    session_id,
                    after=after,
                    limit=PAGE_EVENTS,
                    types=STATE_TYPES,
                    before=head_seq + 1,
                )
            except CursorExpired as error:
                if after:
                    raise
                # an id used again goes on above its deleted session's last seq
                after = error.oldest_seq - 1
                continue
            for event in page.events:
                _apply(image, event)
            after = page.scanned_to
    # a reader may have been given a snapshot newer than the info that it read before
    image.head_seq = max(image.head_seq, head_seq)
    return image


def check_readable(info: SessionInfo) -> None:
    """Raise StoreFailed if the session is encrypted and ``info`` was read without its keys."""
    if SEALED in info.metadata:
        raise StoreFailed(
            f"session {info.id!r} is encrypted: open the store with its keys "
            "(moorage --keys FILE, or moorage.stores.encryption.EncryptedStore)",
            written=False,
        )


def _apply(image: SessionImage, event: Event) -> None:
    try:
        image.apply(event)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptLog(
            file=f"session {image.session_id!r}",
            offset=event.seq,
            reason=f"{event.type} cannot follow here: {error!r}",
        ) from error


def _decode(snapshot: Snapshot, session_id: str) -> SessionImage:
    try:
        return decode_struct(snapshot.body, SessionImage)
    except ValueError as error:
        raise CorruptLog(
            file=f"snapshot of session {session_id!r}", offset=snapshot.seq, reason=str(error)
        ) from error
