"""Messages: some events of one session as the body of a request, and its id.

The shape is the one that Standard Webhooks recommends (type, timestamp, data). The id is made of
the webhook, the session and the range of seq, so that the same message has the same id whenever
and by whichever process it is sent, and who receives it twice can tell.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.reversible_json import dump_line, event_to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from moorage.runtime.events import Event

    from .limits import PostLimits

EVENTS_TYPE = "moorage.events"
PING_TYPE = "moorage.ping"
_SECOND_NS = 1_000_000_000


@attrs.frozen(kw_only=True)
class Message:
    """What is posted. ``events`` is how many are in it."""

    id: str
    body: bytes
    events: int = 0


@attrs.frozen
class Batch:
    """The first of some events: ``seen`` of them are done with once ``lines`` have been taken, the
    last of which was recorded at ``time_ns``."""

    seen: int
    lines: list[bytes]
    time_ns: int


def first_batch(
    events: Sequence[Event], types: Collection[str] | None, limits: PostLimits
) -> Batch:
    """As many of the events as one message holds; those of other types are passed over."""
    lines: list[bytes] = []
    size = time_ns = 0
    for index, event in enumerate(events):
        if types is not None and event.type not in types:
            continue
        line = line_of(event)
        size += len(line) + 1
        if lines and (size > limits.batch_bytes_max or len(lines) >= limits.batch_events_max):
            return Batch(index, lines, time_ns)
        lines.append(line)
        time_ns = event.time_ns
    return Batch(len(events), lines, time_ns)


def whole_batch(events: Sequence[Event], types: Collection[str] | None) -> Batch:
    """All of the events, whatever their number and size; those of other types are passed over."""
    wanted = [event for event in events if types is None or event.type in types]
    time_ns = wanted[-1].time_ns if wanted else 0
    return Batch(len(events), [line_of(event) for event in wanted], time_ns)


def line_of(event: Event) -> bytes:
    """An event as the JSON that it has everywhere."""
    return dump_line(event_to_json(event)).encode().rstrip(b"\n")


def events_message(
    webhook: str, batch: Batch, *, session_id: str, first_seq: int, last_seq: int
) -> Message:
    """The events of a batch: what is wanted of everything from ``first_seq`` to ``last_seq``."""
    facts = {"session_id": session_id, "first_seq": first_seq, "last_seq": last_seq}
    head = dump_line({"type": EVENTS_TYPE, "timestamp": _moment(batch.time_ns)}).rstrip("\n")
    data = dump_line(facts).rstrip("\n")
    body = b'%s,"data":%s,"events":[%s]}}' % (
        head[:-1].encode(),
        data[:-1].encode(),
        b",".join(batch.lines),
    )
    return Message(
        id=message_id(webhook, session_id, first_seq, last_seq),
        body=body,
        events=len(batch.lines),
    )


def ping_message(webhook: str, time_ns: int) -> Message:
    """One without events, to find out whether it arrives."""
    body = {"type": PING_TYPE, "timestamp": _moment(time_ns), "data": {"webhook": webhook}}
    return Message(
        id=message_id(webhook, "", time_ns, time_ns), body=dump_line(body).rstrip("\n").encode()
    )


def message_id(webhook: str, session_id: str, first_seq: int, last_seq: int) -> str:
    """The id of the message about this range of the session's log."""
    named = "\0".join((webhook, session_id, str(first_seq), str(last_seq)))
    return f"msg_{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def _moment(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, _SECOND_NS)
    try:
        whole = datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        whole = datetime.fromtimestamp(0, tz=UTC)  # of no calendar
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"
