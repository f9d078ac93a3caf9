"""What streams refuse, with the headers by which clients of the protocol find out why."""

from __future__ import annotations

from ..problems import BodyTooLarge, ProducerFenced, RequestRefused, StreamConflict
from .offsets import write_offset


class StreamIsClosed(StreamConflict):
    """Nothing is appended to a stream that was closed."""

    code = "stream_closed"

    def __init__(self, *, position: int) -> None:
        super().__init__("the stream is closed: nothing is appended to it any more")
        self.headers = {"stream-closed": "true", "stream-next-offset": write_offset(position)}


class ContentTypeMismatch(StreamConflict):
    """A body of another type than the stream's."""

    code = "content_type_mismatch"

    def __init__(self, *, expected: str, given: str) -> None:
        super().__init__(f"Content-Type is {given!r} and the stream's is {expected!r}: send that")


class WriterSeqRegression(StreamConflict):
    """A ``Stream-Seq`` that was there, or does not sort behind the last one."""

    code = "writer_seq_regression"

    def __init__(self, *, last: str, given: str) -> None:
        super().__init__(
            f"Stream-Seq is {given!r}, which does not sort behind {last!r}, the last one"
        )


class ProducerGap(StreamConflict):
    """Something that the producer sent before has not come."""

    code = "producer_gap"
    retryable = True

    def __init__(self, id: str, *, expected: int, received: int) -> None:
        super().__init__(
            f"Producer-Seq of {id!r} is {received} and the next one is {expected}: send that first"
        )
        self.headers = {
            "producer-expected-seq": str(expected),
            "producer-received-seq": str(received),
        }


class StreamDamaged(StreamConflict):
    """An event of a stream is none that was recorded here; what else is in the log can be read."""

    code = "stream_damaged"

    def __init__(self, *, seq: int, type: str) -> None:
        super().__init__(
            f"the event {seq} ({type}) of the session is not as streams record it: read the events "
            "of the session, or delete it"
        )
        self.seq = seq
        self.type = type


class StaleEpoch(ProducerFenced):
    """Somebody goes on as the same producer."""

    code = "stale_producer_epoch"

    def __init__(self, id: str, *, epoch: int, current: int) -> None:
        super().__init__(
            f"Producer-Epoch of {id!r} is {epoch} and somebody goes on with {current}: stop, or "
            f"begin epoch {current + 1}"
        )
        self.headers = {"producer-epoch": str(current)}


class TooManyMessages(BodyTooLarge):
    """An array of more than are appended at once."""

    code = "too_many_messages"

    def __init__(self, *, count: int, limit: int) -> None:
        RequestRefused.__init__(
            self, f"the array has {count} messages and the limit is {limit}: send it in parts"
        )
        self.count = count
        self.limit = limit
