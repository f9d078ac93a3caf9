"""Opening: from the files to the state, and what to do about damage.

Everything up to the manifest's replay position is known from the directory checkpoint and the side
files; behind it the frames are replayed. A frame that is not good is either

- damage: a later frame's header, the DURABLE file or the manifest attests that the log was durable
  beyond it. CorruptLog, and nothing is changed. Or
- tail: nothing attests it, so nobody was told that it is durable. It is cut off and reported.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import CorruptLog

from . import format as fmt
from .changes import decode_change
from .checkpoint import load_directory
from .directory import Directory
from .disk import remove
from .durable import read_durable
from .files import Files
from .format import SEGMENT_HEADER_SIZE, Damaged, SegmentHeader
from .scan import FrameDamaged, attested_later, frames
from .state import State

if TYPE_CHECKING:
    from pathlib import Path

    from .changes import Change
    from .disk import Disk, File
    from .durable import DurableEnd
    from .manifest import Layout, Manifest, Segment
    from .scan import FrameBytes


_COPY_BYTES = 2**20


@attrs.frozen
class Recovery:
    """What opening found. ``cut_*`` describe the tail that was cut off, if any was."""

    replayed_frames: int = 0
    replayed_bytes: int = 0
    cut_file: str | None = None
    cut_offset: int = 0
    cut_bytes: int = 0
    cut_reason: str | None = None
    orphans_removed: int = 0


@attrs.define
class Replay:
    """The state after replay, and how it ended. ``attested`` is what is certainly durable of the
    active segment, ``state.end`` what is good, ``size`` what is there."""

    state: State
    frames: int
    bytes: int
    attested: int
    size: int
    reason: str | None


def load_durable(disk: Disk, layout: Layout) -> DurableEnd | None:
    try:
        file = disk.open(layout.durable)
    except FileNotFoundError:
        return None
    try:
        return read_durable(file)
    finally:
        file.close()


def replay(disk: Disk, layout: Layout, manifest: Manifest) -> Replay:
    """Build the state; changes nothing. Raises CorruptLog, StoreFailed and OSError."""
    outdated = why_outdated(disk, layout, manifest)
    if outdated is not None:
        raise CorruptLog(file=str(layout.manifest), offset=0, reason=outdated)
    state, sealed = _replay_up_to_active(disk, layout, manifest)
    result = _replay_active(disk, layout, manifest, state)
    if manifest.clean and result.frames:
        reason = f"it is older than the log: it says that the log ends, and {result.frames} follow"
        raise CorruptLog(file=str(layout.manifest), offset=0, reason=reason)
    result.frames += sealed[0]
    result.bytes += sealed[1]
    return result


def why_outdated(disk: Disk, layout: Layout, manifest: Manifest) -> str | None:
    """What proves that there was a newer manifest than this one, which may have been restored from
    a backup: the newer segments are not to be taken for a crash's leftovers. Raises OSError."""
    durable = load_durable(disk, layout)
    if durable is not None:
        # published when a manifest that tells of it was in force for good
        if durable.generation > manifest.generation:
            return f"it is older than DURABLE, which knows generation {durable.generation}"
        if durable.number >= manifest.next_number:
            return f"it is older than DURABLE, which knows segment {durable.number}"
    with suppress(FileNotFoundError):
        for name in sorted(disk.list(layout.segments)):
            number, _, kind = name.partition(".")
            newer = kind == "log" and number.isdigit() and int(number) >= manifest.next_number
            if newer and _has_commits(disk, layout.segments / name):
                return f"it is older than {name}, which holds commits"
    return None


def _has_commits(disk: Disk, path: Path) -> bool:
    """Whether commits went there: not so in what a crash left of a rotation or compaction."""
    file = disk.open(path)
    try:
        if file.size() <= SEGMENT_HEADER_SIZE:
            return False
        header = fmt.parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0), file=str(path))
        return header.low == header.number
    except CorruptLog:
        return False
    finally:
        file.close()


def replay_for_reader(
    disk: Disk, layout: Layout, manifest: Manifest, durable: DurableEnd | None, *, alive: bool
) -> State:
    """The state as a reader may see it: to the durable offset while an owner is ``alive``, and to
    the end of what is good when none is. Raises CorruptLog, StoreFailed and OSError."""
    if not alive:
        return replay(disk, layout, manifest).state
    state, _ = _replay_up_to_active(disk, layout, manifest)
    number = manifest.active.number
    start = state.end = _active_start(manifest)
    if durable is None or durable.number != number or durable.offset < start:
        return state
    file = state.files.log(number)
    try:
        for frame in frames(
            file, log_id=manifest.log_id, number=number, start=start, end=durable.offset
        ):
            apply_frame(state, frame)
            state.end += frame.frame.length
    except FrameDamaged as damage:
        path = str(layout.segment(number))
        raise CorruptLog(file=path, offset=damage.offset, reason=damage.reason) from None
    return state


def _replay_up_to_active(
    disk: Disk, layout: Layout, manifest: Manifest
) -> tuple[State, tuple[int, int]]:
    """The state before the active segment, and how many (frames, bytes) were replayed."""
    check_segments(disk, layout, manifest)
    directory = Directory()
    if manifest.directory:
        load_directory(disk, layout, manifest, directory)
    files = Files(disk, layout, manifest.log_id)
    replayed = [segment for segment in manifest.segments if segment.high >= manifest.replay_place]
    state = State(files, _up_to(manifest, replayed[0]), directory)
    count = size = 0
    for segment in replayed[:-1]:
        start = SEGMENT_HEADER_SIZE
        if segment.high == manifest.replay_place:
            start = manifest.replay_offset
        count += _replay_sealed(files, segment, state, start)
        size += (segment.end or start) - start
        following = manifest.segments[manifest.segments.index(segment) + 1]
        state.rotate(_up_to(manifest, following))
        if segment.index_end == segment.end:
            state.sealed(state.segments)
    return state, (count, size)


def _active_start(manifest: Manifest) -> int:
    if manifest.active.high == manifest.replay_place:
        return manifest.replay_offset
    return SEGMENT_HEADER_SIZE


def _up_to(manifest: Manifest, last: Segment) -> tuple[Segment, ...]:
    return manifest.segments[: manifest.segments.index(last) + 1]


def check_segments(disk: Disk, layout: Layout, manifest: Manifest) -> None:
    """Every segment's header is right, and no file is missing or short. Raises CorruptLog."""
    for segment in manifest.segments:
        path = layout.segment(segment.number)
        try:
            file = disk.open(path)
        except FileNotFoundError:
            raise CorruptLog(file=str(path), offset=0, reason="the file is missing") from None
        try:
            header = fmt.parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0), file=str(path))
            if header[:2] != (manifest.log_id, segment.number):
                reason = f"this is segment {header.number} of another log or place"
                raise CorruptLog(file=str(path), offset=0, reason=reason)
            expected = segment.end or max(segment.index_end, SEGMENT_HEADER_SIZE)
            size = file.size()
            if size < expected:
                reason = f"the file ends here and {expected} bytes of it were durable"
                raise CorruptLog(file=str(path), offset=size, reason=reason)
        finally:
            file.close()
        if segment.index_end:
            _check_there(disk, layout.index(segment.number, segment.index_end))


def _check_there(disk: Disk, path: Path) -> None:
    try:
        disk.open(path).close()
    except FileNotFoundError:
        raise CorruptLog(file=str(path), offset=0, reason="the file is missing") from None


def _replay_sealed(files: Files, segment: Segment, state: State, start: int) -> int:
    assert segment.end is not None
    file = files.log(segment.number)
    count = 0
    found = frames(file, log_id=files.log_id, number=segment.number, start=start, end=segment.end)
    try:
        for frame in found:
            apply_frame(state, frame)
            count += 1
    except FrameDamaged as damage:
        path = str(files.layout.segment(segment.number))
        raise CorruptLog(file=path, offset=damage.offset, reason=damage.reason) from None
    return count


def apply_frame(state: State, frame: FrameBytes) -> list[Change]:
    """Replay one good frame. Raises FrameDamaged when its content makes no sense."""
    changes = []
    offset = frame.frame.offset
    try:
        for block in fmt.parse_blocks(frame.data, offset):
            change = decode_change(block)
            state.apply(change, block.offset)
            changes.append(change)
    except (Damaged, ValueError) as damaged:
        raise FrameDamaged(offset, str(damaged)) from None
    return changes


def _replay_active(disk: Disk, layout: Layout, manifest: Manifest, state: State) -> Replay:
    active = manifest.active
    path = str(layout.segment(active.number))
    file = state.files.log(active.number)
    size = file.size()
    start = attested = _active_start(manifest)
    durable = load_durable(disk, layout)
    if durable is not None and durable.synced and durable.number == active.number:
        attested = max(attested, durable.offset)
    result = Replay(state, 0, 0, attested, size, None)
    state.end = start
    try:
        for frame in frames(
            file, log_id=manifest.log_id, number=active.number, start=start, end=size
        ):
            apply_frame(state, frame)
            result.frames += 1
            result.attested = max(result.attested, frame.frame.attested)
            state.end += frame.frame.length
    except FrameDamaged as damage:
        result.reason = damage.reason
        later = attested_later(
            file,
            log_id=manifest.log_id,
            number=active.number,
            start=damage.offset + 1,
            end=size,
        )
        result.attested = max(result.attested, later)
    result.bytes = state.end - start
    if result.attested > state.end:
        reason = result.reason or "the file ends here"
        raise CorruptLog(
            file=path,
            offset=state.end,
            reason=f"{reason}, and {result.attested} bytes of it were durable",
        )
    return result


def settle_tail(file: File, result: Replay, path: str) -> Recovery:
    """Cut the tail off and make what is good durable. Raises OSError."""
    end = result.state.end
    cut = result.size - end
    if cut:
        file.truncate(end)
    # Whoever wrote the last frame may have failed to sync it, and the kernel then keeps bytes that
    # are not on the disk and believes they are: write them again.
    for offset in range(result.attested, end, _COPY_BYTES):
        data = file.read(min(_COPY_BYTES, end - offset), offset)
        file.write([data], offset)
    file.sync()
    return Recovery(
        replayed_frames=result.frames,
        replayed_bytes=result.bytes,
        cut_file=path if cut else None,
        cut_offset=end if cut else 0,
        cut_bytes=cut,
        cut_reason=(result.reason or "unknown") if cut else None,
    )


def new_segment(disk: Disk, layout: Layout, header: SegmentHeader) -> File:
    """Create a segment file that holds nothing yet, durably. Raises OSError."""
    path = layout.segment(header.number)
    file = disk.create(path)
    try:
        file.write([fmt.pack_segment_header(header)], 0)
        file.sync()
        disk.sync_directory(layout.segments)
    except BaseException:
        file.close()
        remove(disk, [path])
        raise
    return file
