"""The end of raw streams. What a fork inherits stays as long as the fork, deleted softly.

A source knows its forks by entries of its metadata, which are made before the fork is and compared
with what is there when somebody wants the source deleted: the session's owner refuses a deletion
if anything has changed since (``expected_seq``).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import (
    RecordTooLarge,
    SessionChanged,
    SessionClosed,
    SessionDeleted,
    UnknownSession,
)

from ..problems import StreamConflict
from .configs import FORK, config_of, forks_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime import Session, SessionInfo, Supervisor

    from .configs import StreamConfig

NANOSECONDS = 1_000_000_000
BEING_MADE_SECONDS = 60
"""So long an entry of a fork that is not there yet counts; then its maker was killed."""
MADE_NS = 0
"""What the entry of a fork says when it has been made."""
KEPT_FOR_FORKS = "forks inherit from it"
"""Why a stream is deleted softly."""
MARGIN = 1.25
"""Retention comes by later than a stream's time is over: reads are not all in the log."""


def retained_seconds(config: StreamConfig, now_ns: int) -> float | None:
    """How long after its last change retention may delete it; None leaves that to policies."""
    if config.ttl_seconds is not None:
        return config.ttl_seconds * MARGIN + 1
    if config.expires_at_ns is not None:
        return max(0.0, (config.expires_at_ns - now_ns) / NANOSECONDS)
    return None


async def remove(
    supervisor: Supervisor,
    id: str,
    time_ns: Callable[[], int],
    *,
    if_still: Callable[[SessionInfo], bool] | None = None,
) -> bool:
    """Delete the stream, softly if there are forks. False if it is not, or not any more, one that
    is to go: ``if_still`` is asked of it as it is when it is deleted. Raises UnknownSession."""
    session = supervisor.handle(id)
    while True:
        info = await session.info()
        if if_still is not None and not if_still(info):
            return False
        needed = await _has_forks(supervisor, info, time_ns())
        how: dict[str, Any] = {"soft": True, "reason": KEPT_FOR_FORKS} if needed else {}
        try:
            await supervisor.delete_session(id, expected_seq=info.head_seq, **how)
        except SessionChanged:
            continue
        break
    config = config_of(info)
    if not needed and config is not None and config.forked_from is not None:
        await release(supervisor, config.forked_from, id, time_ns)
    return True


async def register(supervisor: Supervisor, source: str, fork: str, now_ns: int) -> None:
    """Have the source stay for a fork that is about to be made. Raises UnknownSession, and
    StreamConflict for one that is no stream, is deleted, or has as many forks as it can know of."""
    session = supervisor.handle(source)
    if config_of(await session.info()) is None:
        raise StreamConflict(f"{source!r} is no raw stream, and not to be forked as one")
    try:
        await session.configure(metadata_update={FORK + fork: now_ns}, expire_after_seconds="never")
    except SessionDeleted as error:
        raise StreamConflict(f"{source!r} is deleted, and only there for its forks") from error
    except RecordTooLarge as error:
        raise StreamConflict(f"{source!r} has too many forks: fork one of them") from error


async def confirm(supervisor: Supervisor, source: str, fork: str) -> None:
    """The fork is made: from now on its source looks whether it is there."""
    with suppress(SessionDeleted, SessionClosed):
        await supervisor.handle(source).configure(metadata_update={FORK + fork: MADE_NS})


async def release(
    supervisor: Supervisor, source: str, fork: str, time_ns: Callable[[], int]
) -> None:
    """Tell a source that a fork is gone. A source that was only kept for its forks goes with the
    last of them, and so does what it inherits from. Nothing is done to what does not know of such
    a fork: whose it is, and what, only its own entries tell."""
    above: str | None = source
    while above is not None:
        session = supervisor.handle(above)
        try:
            info = await session.info()
            config = config_of(info)
            if config is None or fork not in forks_of(info):
                return
            if info.deleted_at_ns is None:
                await session.configure(
                    metadata_update={FORK + fork: None}, **_expiry(info, fork, time_ns())
                )
                return
            if not await _is_kept_for_forks(session, info) or await _has_forks(
                supervisor, info, time_ns(), without=fork
            ):
                return
            await supervisor.delete_session(above, expected_seq=info.head_seq)
        except SessionChanged:
            continue
        except (UnknownSession, SessionDeleted, SessionClosed):
            return
        fork, above = above, config.forked_from


async def _is_kept_for_forks(session: Session, info: SessionInfo) -> bool:
    """Whether it was deleted as a stream. What somebody has hidden otherwise can be restored."""
    page = await session.events(before=info.head_seq + 1, limit=1, types={"session_deleted"})
    return [event.data.get("reason") for event in page] == [KEPT_FOR_FORKS]


def _expiry(info: SessionInfo, fork: str, now_ns: int) -> dict[str, Any]:
    """Retention may have it again when its last fork is gone."""
    config = config_of(info)
    if config is None or forks_of(info) != [fork]:
        return {}
    seconds = retained_seconds(config, now_ns)
    return {"expire_after_seconds": "by_policy" if seconds is None else seconds}


async def _has_forks(
    supervisor: Supervisor, info: SessionInfo, now_ns: int, *, without: str | None = None
) -> bool:
    """Whether anything inherits from it, or is about to."""
    for fork in forks_of(info):
        if fork == without:
            continue
        try:
            config = config_of(await supervisor.handle(fork).info())
        except UnknownSession:
            since_ns = info.metadata[FORK + fork]
            if type(since_ns) is int and now_ns - since_ns < BEING_MADE_SECONDS * NANOSECONDS:
                return True
        else:
            if config is not None and config.forked_from == info.id:
                return True
    return False
