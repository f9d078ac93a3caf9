"""What of a record, an info and a snapshot is sealed, and what stays readable.

Readable, since stores order, filter and count by it: session ids, seqs, times, event types, run
ids, a session's state, slots, numbers of runs, how and when it was closed or deleted, when it
expires, the tags and agents that it demands of a node, names and positions of cursors.
Sealed: the data and metadata of events; tags, metadata, summary and reason of a session; snapshots.
Idempotency keys are kept as a keyed hash.

A sealed event is an event still, whose data is bytes and whose version says so: any store keeps it,
and a reader without keys sees everything but the content. The sealed content is the whole body as
it was, so that nothing of it can be changed on the outside either; it is bound to its session, its
seq and its run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.codec import decode_event, decode_events, encode_event, pack, unpack
from moorage.runtime.errors import CorruptLog
from moorage.runtime.ports import Record, Snapshot
from moorage.runtime.sessions import SEALED, SessionInfo, SessionState

from .sealing import NotSealed, key_id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.events import Event

    from .failures import KeyUnavailable
    from .session_keys import SessionCipher

_REMOVAL = ("closed_at_ns", "deleted_at_ns", "expire_after_seconds")
"""What says when a session goes."""
SEALED_VERSION = 2**31
"""The schema version of a sealed event: above any that a type will have, so that nothing lifts it
before it is opened."""


def _bound(kind: bytes, session_id: str) -> bytes:
    name = session_id.encode("utf-8", "surrogatepass")
    return b"%s%d:%s" % (kind, len(name), name)


def seal_records(
    cipher: SessionCipher, expected_seq: int, records: Sequence[Record]
) -> list[Record]:
    """The records as a store gets them. Raises KeyUnavailable, and InvalidArgument or another error
    for values that no store can hold."""
    bound = _bound(b"event", cipher.session_id)
    seal = cipher.seal
    sealed = []
    for seq, (time_ns, type, run_id, body, key) in enumerate(records, expected_seq):
        associated = bound + seq.to_bytes(8, "big") + (run_id or "").encode()
        content = seal(body, associated)
        hashed = None if key is None else cipher.hashed(key)[0]
        sealed.append(
            encode_event(
                time_ns, type, run_id, content, version=SEALED_VERSION, key=hashed, checked=True
            )
        )
    return sealed


def open_events(cipher: SessionCipher, events: Sequence[Event]) -> list[Event]:
    """The events of one session as they were appended. Raises KeyUnavailable, and CorruptLog for
    what was changed, moved, or never sealed."""
    if not events:
        return []
    bound = _bound(b"event", cipher.session_id)
    bodies = [_open_body(cipher, bound, event) for event in events]
    first = events[0].seq
    if events[-1].seq - first == len(events) - 1:
        opened = decode_events(cipher.session_id, first, bodies)  # in one pass: half the time
    else:
        opened = [
            decode_event(cipher.session_id, event.seq, body)
            for event, body in zip(events, bodies, strict=True)
        ]
    for event, found in zip(events, opened, strict=True):
        if (
            event.type != found.type
            or event.time_ns != found.time_ns
            or event.run_id != found.run_id
        ):
            raise _damaged(event.session_id, event.seq, "its time, type or run were changed")
    return opened


def _open_body(cipher: SessionCipher, bound: bytes, event: Event) -> bytes:
    if event.version != SEALED_VERSION or type(event.data) is not bytes:
        raise _damaged(event.session_id, event.seq, "the event is not encrypted: copy this store")
    try:
        return cipher.open(
            event.data, bound + event.seq.to_bytes(8, "big") + (event.run_id or "").encode()
        )
    except NotSealed as error:
        raise _damaged(
            event.session_id, event.seq, f"the event cannot be opened: {error}"
        ) from None


def _damaged(session_id: str, seq: int, reason: str) -> CorruptLog:
    return CorruptLog(file=f"session {session_id!r}", offset=seq, reason=reason)


def seal_snapshot(cipher: SessionCipher, snapshot: Snapshot) -> Snapshot:
    """Raises KeyUnavailable."""
    return Snapshot(snapshot.seq, cipher.seal(snapshot.body, _of_snapshot(cipher, snapshot)))


def open_snapshot(cipher: SessionCipher, snapshot: Snapshot) -> Snapshot:
    """Raises KeyUnavailable, and CorruptLog for what was changed, moved, or never sealed."""
    try:
        body = cipher.open(snapshot.body, _of_snapshot(cipher, snapshot))
    except NotSealed as error:
        raise _damaged(
            cipher.session_id, snapshot.seq, f"the snapshot cannot be opened: {error}"
        ) from None
    return Snapshot(snapshot.seq, body)


def _of_snapshot(cipher: SessionCipher, snapshot: Snapshot) -> bytes:
    return _bound(b"snapshot", cipher.session_id) + b"%d" % snapshot.seq


def seal_info(cipher: SessionCipher, info: SessionInfo) -> SessionInfo:
    """Raises KeyUnavailable, and InvalidArgument for what cannot be kept."""
    content = pack([info.tags, info.metadata, info.summary, info.reason], "the info")
    sealed = cipher.seal(content, _of_info(info))
    return attrs.evolve(info, tags={}, metadata={SEALED: sealed}, summary=None, reason=None)


def open_info(cipher: SessionCipher, info: SessionInfo) -> SessionInfo:
    """The info as it was. Raises KeyUnavailable and CorruptLog.

    Where the session's key was destroyed it is what is still readable, as quarantined: nobody can
    work with it, and it must not keep others from being listed.
    """
    sealed = info.metadata.get(SEALED)
    try:
        if type(sealed) is not bytes:
            raise NotSealed(
                "the session is not encrypted: open a plain store without keys, or copy it into "
                "an encrypted one"
            )
        if not cipher.knows(key_id_of(sealed)):
            error = cipher.destroyed(key_id_of(sealed))
            return unreadable(info, error)
        tags, metadata, summary, reason = unpack(cipher.open(sealed, _of_info(info)))
    except NotSealed as error:
        raise _damaged(info.id, info.head_seq, f"its info cannot be opened: {error}") from None
    return attrs.evolve(info, tags=tags, metadata=metadata, summary=summary, reason=reason)


def sealed_with(info: SessionInfo) -> bytes | None:
    """The id of the key that opens the info, None if it is not sealed."""
    sealed = info.metadata.get(SEALED)
    try:
        return key_id_of(sealed) if type(sealed) is bytes else None
    except NotSealed:
        return None


def unreadable(info: SessionInfo, error: KeyUnavailable) -> SessionInfo:
    """What a listing shows of a session without a key."""
    return attrs.evolve(info, state=SessionState.QUARANTINED, metadata={}, reason=error.message)


def _of_info(info: SessionInfo) -> bytes:
    """What stays readable and is the writer's, in a form that does not depend on order."""
    facts: list[Any] = [
        info.state.value,
        info.created_at_ns,
        info.slots,
        info.outcome,
        info.timed_waits,
        [[state, count] for state, count in sorted(info.runs.items())],
    ]
    if info.node_tags or info.agents:  # infos of earlier releases have none
        tags = [[name, value] for name, value in sorted(info.node_tags.items())]
        facts.append([tags, list(info.agents)])
    if removal := {name: value for name in _REMOVAL if (value := getattr(info, name)) is not None}:
        facts.append(removal)  # nor these
    return _bound(b"info", info.id) + pack(facts, "the info")
