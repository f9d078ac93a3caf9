"""Reading frames: for replay, for checking, and to judge damage. Pure apart from the File."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from . import format as fmt
from .format import FRAME_HEADER_SIZE, FRAME_MARK, Damaged, Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .disk import File

READ_BYTES = 4 * 2**20


class FrameBytes(NamedTuple):
    frame: Frame
    data: memoryview


class FrameDamaged(Exception):
    """The frame at ``offset`` is not what was written, or not all there."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


def frames(file: File, *, log_id: bytes, number: int, start: int, end: int) -> Iterator[FrameBytes]:
    """The checked frames that lie between ``start`` and ``end``, which must be a frame's end.

    Raises FrameDamaged at the first that is not good.
    """
    offset = start
    buffer = memoryview(b"")
    buffer_at = start
    while offset < end:
        view = buffer[offset - buffer_at :]
        try:
            if len(view) < FRAME_HEADER_SIZE:
                view, buffer_at = _refill(file, offset, end, 0), offset
                buffer = view
            seed = fmt.frame_seed(log_id, number, offset)
            frame = fmt.parse_frame_header(view, seed, offset)
            if len(view) < frame.length:
                view, buffer_at = _refill(file, offset, end, frame.length), offset
                buffer = view
            fmt.check_frame(view, frame)
        except Damaged as damaged:
            raise FrameDamaged(offset, str(damaged)) from None
        yield FrameBytes(frame, view[: frame.length])
        offset += frame.length


def _refill(file: File, offset: int, end: int, length: int) -> memoryview:
    size = min(max(READ_BYTES, length), end - offset)
    return memoryview(file.read(size, offset))


def attested_later(file: File, *, log_id: bytes, number: int, start: int, end: int) -> int:
    """The highest offset that a frame header between ``start`` and ``end`` attests, or 0.

    A header proves itself, so frames whose rest is damaged attest too.
    """
    headers = frame_headers(file, log_id=log_id, number=number, start=start, end=end)
    return max((frame.attested for frame in headers), default=0)


def frame_headers(
    file: File, *, log_id: bytes, number: int, start: int, end: int
) -> Iterator[Frame]:
    """Every good frame header between ``start`` and ``end``, wherever it is."""
    overlap = FRAME_HEADER_SIZE - 1
    position = start
    while position < end:
        data = file.read(min(READ_BYTES + overlap, end - position), position)
        found = data.find(FRAME_MARK)
        while 0 <= found <= len(data) - FRAME_HEADER_SIZE:
            offset = position + found
            seed = fmt.frame_seed(log_id, number, offset)
            with suppress(Damaged):
                header = data[found : found + FRAME_HEADER_SIZE]
                yield fmt.parse_frame_header(header, seed, offset)
            found = data.find(FRAME_MARK, found + 1)
        if len(data) <= overlap:
            return
        position += len(data) - overlap
