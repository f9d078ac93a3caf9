"""Reading a whole log as it is, good or damaged: what verify and salvage have in common. Blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs
from moorage.runtime.errors import CorruptLog, StoreFailed

from . import format as fmt
from .format import FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, Damaged
from .manifest import Manifest, Segment, load_manifest
from .recovery import load_durable, why_outdated
from .scan import FrameDamaged, frame_headers, frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .disk import Disk, File
    from .format import Block
    from .manifest import Layout


@attrs.frozen
class Problem:
    """Bytes that are not what was written, or are not there."""

    file: str
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file} at {self.offset}: {self.reason}"


class Found(NamedTuple):
    """A good block; ``whole`` says whether its frame is good too."""

    block: Block
    raw: bytes
    whole: bool


def problem_of(error: CorruptLog) -> Problem:
    return Problem(error.file, error.offset, error.reason)


def manifest_or_guess(disk: Disk, layout: Layout, problems: list[Problem]) -> Manifest:
    """The manifest, or what the segment files' headers tell if it is damaged or gone.

    Raises StoreFailed if there is no journal, or one of a newer format.
    """
    try:
        manifest = load_manifest(disk, layout)
        outdated = None if manifest is None else why_outdated(disk, layout, manifest)
        if manifest is not None and outdated is None:
            return manifest
        reason = outdated or "the file is missing"
        problems.append(Problem(str(layout.manifest), 0, reason))
    except CorruptLog as error:
        problems.append(problem_of(error))
    headers = _headers(disk, layout, problems)
    if not headers:
        raise StoreFailed(f"there is no journal in {layout.root}", written=False)
    headers.sort(key=lambda header: (header.low, header.number))
    return _guess(headers)


def _guess(headers: list[fmt.SegmentHeader]) -> Manifest:
    segments = tuple(Segment(header.number, header.low, header.low) for header in headers)
    return Manifest(
        log_id=headers[-1].log_id,
        created_ns=headers[0].created_ns,
        generation=0,
        next_number=max(header.number for header in headers) + 1,
        segments=segments,
        directory=0,
        replay_place=segments[0].high,
        replay_offset=SEGMENT_HEADER_SIZE,
        clean=False,
    )


def _headers(disk: Disk, layout: Layout, problems: list[Problem]) -> list[fmt.SegmentHeader]:
    headers = []
    try:
        names = sorted(disk.list(layout.segments))
    except FileNotFoundError:
        return []
    for name in names:
        if not name.endswith(".log"):
            continue
        path = layout.segments / name
        file = disk.open(path)
        try:
            data = file.read(SEGMENT_HEADER_SIZE, 0)
            headers.append(fmt.parse_segment_header(data, file=str(path)))
        except CorruptLog as error:
            problems.append(problem_of(error))
        finally:
            file.close()
    return headers


def segment_end(disk: Disk, layout: Layout, manifest: Manifest, segment: Segment, size: int) -> int:
    """How far a segment is surveyed: not beyond the durable end while an owner lives."""
    if segment.end is not None:
        return min(segment.end, size)
    durable = load_durable(disk, layout)
    if durable is None or durable.number != segment.number or not disk.is_locked(layout.lock):
        return size
    return min(durable.offset, size)


def survey(
    file: File, path: str, *, log_id: bytes, number: int, end: int
) -> Iterator[Found | Problem]:
    """All blocks of a segment that are good, and what is not: of a damaged frame those that are
    good by themselves, unless it is the last, which may never have been durable. Raises OSError.
    """
    offset = SEGMENT_HEADER_SIZE
    while offset < end:
        try:
            for frame, data in frames(file, log_id=log_id, number=number, start=offset, end=end):
                yield from _blocks(data, frame.offset, path, whole=True)
                offset += frame.length
        except FrameDamaged as damage:
            yield Problem(path, damage.offset, damage.reason)
            offset, rest = _behind(file, log_id, number, damage.offset, end)
            if rest and offset < end:
                yield from _blocks(memoryview(rest), damage.offset, path, whole=False)


def _behind(file: File, log_id: bytes, number: int, damaged: int, end: int) -> tuple[int, bytes]:
    """Where to go on behind a damaged frame, and the frame's bytes if its header is good."""
    rest = b""
    try:
        seed = fmt.frame_seed(log_id, number, damaged)
        frame = fmt.parse_frame_header(file.read(FRAME_HEADER_SIZE, damaged), seed, damaged)
        rest = file.read(min(frame.length, end - damaged), damaged)
    except Damaged:
        pass
    following = frame_headers(file, log_id=log_id, number=number, start=damaged + 1, end=end)
    return next((frame.offset for frame in following), end), rest


def _blocks(data: memoryview, offset: int, path: str, *, whole: bool) -> Iterator[Found | Problem]:
    position = FRAME_HEADER_SIZE
    while position < len(data):
        try:
            block = fmt.parse_block(data, position, offset + position, check=True)
        except (Damaged, ValueError) as damaged:
            if whole:
                yield Problem(path, offset + position, str(damaged))
            return
        yield Found(block, bytes(data[position : position + block.length]), whole)
        position += block.length
