"""What a raw stream is at one moment, as its log tells: pure, and the same live and replayed.

Every append carries what it changes besides the content, in the last of its events: who produced
it, the writer's sequence, the closing. So they are there together or not at all. Now and then an
event holds the sum of it, so that a process that knows nothing reads a few events, not all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import NewEvent

from ..problems import MalformedRequest
from .content import Content
from .refusals import ProducerGap, StaleEpoch, StreamDamaged

if TYPE_CHECKING:
    from moorage.runtime import Event


CREATED = "stream_created"
APPENDED = "stream_appended"
CLOSED = "stream_closed"
CHECKPOINTED = "stream_checkpointed"
STREAM_TYPES = frozenset({CREATED, APPENDED, CLOSED, CHECKPOINTED})
READABLE_TYPES = frozenset({APPENDED, CLOSED})
"""What moves a reader on."""

CHECKPOINT_EVENTS = 256
"""After so many events, or as many as there are producers, the sum is written again."""
PRODUCERS_MAX = 10_000
"""Of one stream; beyond it the one that has been quiet for longest is forgotten."""


@attrs.frozen
class Producer:
    """Who appends, by the protocol's headers: a retry has the same ``epoch`` and ``seq``."""

    id: str
    epoch: int
    seq: int


@attrs.frozen(kw_only=True)
class Write:
    """What one request changes. ``contents`` may be empty if it closes the stream."""

    contents: tuple[Content, ...] = ()
    closes: bool = False
    producer: Producer | None = None
    writer_seq: str | None = None

    def marks(self) -> dict[str, Any]:
        """What the last event says besides its content."""
        marks: dict[str, Any] = {"end": True}
        if self.closes:
            marks["closes"] = True
        if self.producer is not None:
            marks["producer"] = [self.producer.id, self.producer.epoch, self.producer.seq]
        if self.writer_seq is not None:
            marks["writer_seq"] = self.writer_seq
        return marks

    def events(self) -> list[NewEvent]:
        if not self.contents:
            return [NewEvent(CLOSED, self.marks())] if self.closes else []
        events = [NewEvent(APPENDED, {"content": content}) for content in self.contents]
        events[-1].data.update(self.marks())
        return events


def content_of(event: Event) -> Content:
    """What was appended. Raises StreamDamaged."""
    data = event.data
    content = data.get("content") if type(data) is dict else None
    if type(content) is not str and type(content) is not bytes:
        raise StreamDamaged(seq=event.seq, type=event.type)
    return content


def _whole(value: Any) -> int:
    """Raises ValueError, as the next ones do."""
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _text(value: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise ValueError(value)
    return value


def _position(value: Any) -> tuple[str, int, int]:
    id, epoch, seq = value
    if type(id) is not str:
        raise ValueError(id)
    return id, _whole(epoch), _whole(seq)


_NOTHING: dict[str, Any] = {"tail_seq": 0, "closed": False, "writer_seq": None, "producers": []}
"""What a stream begins with, whatever one of the same name was before it."""


@attrs.define(kw_only=True)
class StreamState:
    """As of ``head_seq``. ``created_seq`` is 0 as long as the stream is not there; ``tail_seq`` is
    that of the last content, 0 without any. ``producers`` has epoch and seq of each, those that
    wrote last, last."""

    head_seq: int = 0
    created_seq: int = 0
    tail_seq: int = 0
    closed: bool = False
    producers: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    writer_seq: str | None = None
    since_checkpoint: int = 0

    def apply(self, event: Event) -> None:
        """Take in an event of one of STREAM_TYPES. Raises StreamDamaged for one that was not
        recorded here; then the state is not to be used any more."""
        try:
            self._apply(event)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise StreamDamaged(seq=event.seq, type=event.type) from None

    def _apply(self, event: Event) -> None:
        data: dict[str, Any] = event.data
        if event.type == CREATED:
            self._restore({**_NOTHING, "created_seq": event.seq})
        elif event.type == CHECKPOINTED:
            self._restore(data)
        else:
            if event.type == APPENDED:
                content_of(event)
                self.tail_seq = event.seq
            self._mark(data)
            self.since_checkpoint += 1
        self.head_seq = event.seq

    def _mark(self, data: dict[str, Any]) -> None:
        self.closed = self.closed or data.get("closes", False) is True
        self.writer_seq = _text(data.get("writer_seq", self.writer_seq))
        if "producer" in data:
            id, epoch, seq = _position(data["producer"])
            self.producers.pop(id, None)
            self.producers[id] = epoch, seq
            if len(self.producers) > PRODUCERS_MAX:
                del self.producers[next(iter(self.producers))]

    def _restore(self, data: dict[str, Any]) -> None:
        self.created_seq, self.tail_seq = _whole(data["created_seq"]), _whole(data["tail_seq"])
        self.closed, self.writer_seq = data["closed"] is True, _text(data["writer_seq"])
        positions = [_position(position) for position in data["producers"]]
        self.producers = {id: (epoch, seq) for id, epoch, seq in positions}
        self.since_checkpoint = 0

    def events_of(self, write: Write) -> list[NewEvent]:
        """What goes into the log for ``write``, behind ``head_seq`` and nowhere else."""
        events = write.events()
        if self.since_checkpoint + len(events) < max(CHECKPOINT_EVENTS, len(self.producers)):
            return events
        after = attrs.evolve(self, producers=dict(self.producers))
        if write.contents:
            after.tail_seq = self.head_seq + len(events)
        after._mark(write.marks())
        return [*events, NewEvent(CHECKPOINTED, after._sum())]

    def _sum(self) -> dict[str, Any]:
        return {
            "created_seq": self.created_seq,
            "tail_seq": self.tail_seq,
            "closed": self.closed,
            "writer_seq": self.writer_seq,
            "producers": [[id, *position] for id, position in self.producers.items()],
        }

    def is_duplicate(self, producer: Producer) -> bool:
        """Whether what it sends is there already. Raises StaleEpoch, ProducerGap, and
        MalformedRequest for an epoch that does not begin at 0."""
        epoch, seq = self.producers.get(producer.id, (None, -1))
        if epoch is not None and producer.epoch < epoch:
            raise StaleEpoch(producer.id, epoch=producer.epoch, current=epoch)
        if epoch is not None and producer.epoch > epoch:
            if producer.seq != 0:
                raise MalformedRequest(f"Producer-Seq is {producer.seq}: a new epoch begins with 0")
            return False
        if producer.seq > seq + 1:
            raise ProducerGap(producer.id, expected=seq + 1, received=producer.seq)
        return producer.seq <= seq
