"""A reader beside the owner, in this process or another. It takes no lock and never writes.

It loads the state as recovery does and then follows the owner: the DURABLE file says how far the
active segment may be read, the manifest which segment is the active one. Nothing beyond the
durable offset is looked at while an owner lives. When none does, good frames behind it count too:
they are what the next owner will keep.

Whatever does not fit (a segment that was compacted away, an owner that started anew) is met by
reading the manifest again, and in the end by loading everything again; only what is wrong twice is
damage.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.errors import CorruptLog, StoreFailed

from ..news import NewsBoard
from . import format as fmt
from .changes import ENDED
from .durable import DurableEnd, read_durable
from .format import SEGMENT_HEADER_SIZE
from .manifest import Manifest, load_manifest
from .reading_side import ReadingSide
from .reads import Reads
from .recovery import apply_frame, load_durable, replay_for_reader
from .scan import FrameDamaged, frames
from .state import State

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .changes import Change
    from .disk import Disk, File
    from .manifest import Layout

POLL_SECONDS = 0.02
"""How late a waiting reader learns of news."""
DROP_SECONDS = 5.0
"""How long an idle reader keeps files open that compaction has removed."""
SLICE_BYTES = 256 * 1024
"""Frames replayed in one go, without letting others run."""
_LOADS_MAX = 5


@attrs.frozen
class JournalReaderStatistics:
    """``waiting`` tasks wait for news; ``loads`` counts how often everything was loaded."""

    sessions: int
    tombstones: int
    segments: int
    waiting: int
    loads: int


@attrs.frozen
class _Loaded:
    """The manifest's count of rotations is that of the state's active segment."""

    manifest: Manifest
    state: State
    durable: DurableEnd | None


def _load(disk: Disk, layout: Layout) -> _Loaded:
    """Everything, in a thread. Raises CorruptLog, StoreFailed and OSError."""
    for tries_left in reversed(range(_LOADS_MAX)):
        manifest = load_manifest(disk, layout)
        if manifest is None:
            raise StoreFailed(f"there is no journal in {layout.root}", written=False)
        alive = disk.is_locked(layout.lock)
        durable = load_durable(disk, layout)
        try:
            state = replay_for_reader(disk, layout, manifest, durable, alive=alive)
        except (CorruptLog, FileNotFoundError):
            if not tries_left:
                raise
            continue  # the files may have changed while they were read
        if load_manifest(disk, layout) == manifest:
            return _Loaded(manifest, state, durable)
    raise StoreFailed(f"the journal in {layout.root} changes too fast to be read")


@contextlib.asynccontextmanager
async def open_reader(disk: Disk, layout: Layout) -> AsyncGenerator[JournalReader]:
    """Raises CorruptLog and StoreFailed."""
    reader = JournalReader(disk, layout)
    await reader.load()
    problem: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            try:
                yield reader
            except BaseException as error:  # raised again below, not wrapped in a group
                problem = error
            nursery.cancel_scope.cancel()
    finally:
        reader.close()
    if problem is not None:
        raise problem


class JournalReader(ReadingSide):
    """Reads a journal that somebody else owns, or nobody."""

    def __init__(self, disk: Disk, layout: Layout) -> None:
        self._disk = disk
        self._layout = layout
        self._news = NewsBoard()
        self._loaded: _Loaded | None = None
        self._durable_file: File | None = None
        self._following = trio.Lock()
        self._loads = 0

    def statistics(self) -> JournalReaderStatistics:
        state = self._state()
        directory = state.directory
        return JournalReaderStatistics(
            sessions=directory.existing,
            tombstones=len(directory.entries) - directory.existing,
            segments=len(state.segments),
            waiting=self._news.statistics().waiting,
            loads=self._loads,
        )

    async def load(self) -> None:
        """Take everything from the files again. Raises CorruptLog and StoreFailed."""
        try:
            loaded = await trio.to_thread.run_sync(
                _load, self._disk, self._layout, limiter=trio.CapacityLimiter(1)
            )
            if self._durable_file is None and loaded.durable is not None:
                self._durable_file = self._disk.open(self._layout.durable)
        except OSError as error:
            raise StoreFailed(f"the journal cannot be read: {error}", written=False) from error
        if self._loaded is not None:
            self._loaded.state.files.close()
        self._loaded = loaded
        self._loads += 1
        if self._reads is None:
            self._reads = Reads(self._current, self._reload_manifest)

    async def run(self) -> None:
        """Wake waiters and look for news while anybody waits."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._news.run)
            dropped = trio.current_time()
            while True:
                await trio.sleep(POLL_SECONDS)
                if trio.current_time() - dropped >= DROP_SECONDS:
                    dropped = trio.current_time()
                    self._drop_removed()
                if self._news.statistics().waiting:
                    try:
                        await self._freshen()
                    except StoreFailed:
                        self._news.wake_all()  # who asks now meets the error itself

    def _drop_removed(self) -> None:
        """Close what is open of files that are gone: until then they take their space."""
        assert self._loaded is not None
        with contextlib.suppress(OSError, StoreFailed):  # who reads next meets the error itself
            manifest = load_manifest(self._disk, self._layout)
            if manifest is not None:
                self._loaded.state.files.retain(manifest.segments)

    def close(self) -> None:
        self._reads = None
        self._was_open = True
        self._news.wake_all()
        if self._durable_file is not None:
            self._durable_file.close()
        if self._loaded is not None:
            self._loaded.state.files.close()

    def _current(self) -> State:
        assert self._loaded is not None
        return self._loaded.state

    async def _reload_manifest(self) -> None:
        # a file is gone: compaction has put another in its place
        async with self._following:
            await self.load()
            self._news.wake_all()

    async def _freshen(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._opened_reads()
        loaded = self._loaded
        assert loaded is not None
        if self._read_durable() == loaded.durable:
            return
        async with self._following:
            await self._follow()

    def _read_durable(self) -> DurableEnd | None:
        try:
            if self._durable_file is None:
                self._durable_file = self._disk.open(self._layout.durable)
            return read_durable(self._durable_file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(f"the journal cannot be read: {error}", written=False) from error

    async def _follow(self) -> None:
        loaded = self._loaded
        assert loaded is not None
        durable = self._read_durable()
        if durable is None or durable == loaded.durable:
            return  # torn: it is being written, or has been followed meanwhile
        try:
            if durable.generation == loaded.manifest.generation:
                active = loaded.state.active_segment.number
                if durable.number != active:
                    loaded = await self._follow_rotation(loaded, durable)
                await self._follow_to(loaded.state, durable.offset)
                self._loaded = attrs.evolve(loaded, durable=durable)
                return
        except (FrameDamaged, FileNotFoundError, _LostTrack):
            pass
        except OSError as error:
            raise StoreFailed(f"the journal cannot be read: {error}", written=False) from error
        await self.load()
        self._news.wake_all()

    async def _follow_rotation(self, loaded: _Loaded, durable: DurableEnd) -> _Loaded:
        """Read to the end of each segment that was sealed meanwhile, and go on in the next."""
        manifest = load_manifest(self._disk, self._layout)
        state = loaded.state
        numbers = [] if manifest is None else [segment.number for segment in manifest.segments]
        current = state.active_segment.number
        if manifest is None or current not in numbers or durable.number not in numbers:
            raise _LostTrack
        if manifest.generation != durable.generation:
            raise _LostTrack
        first, last = numbers.index(current), numbers.index(durable.number)
        # Where compaction has rewritten or removed a segment, the trims, deletes and cursors that
        # were in it are nowhere any more: only plain rotations can be followed.
        plain = all(one.low == one.number for one in manifest.segments[first : last + 1])
        ahead = len(manifest.segments) - 1 - last  # the manifest may be newer than DURABLE was
        rotations = manifest.rotations - ahead
        if not plain or last - first != rotations - loaded.manifest.rotations:
            raise _LostTrack
        for position in range(first, last):
            segment = manifest.segments[position]
            if segment.end is None:
                raise _LostTrack
            await self._follow_to(state, segment.end)
            if state.sealing is not None:
                state.sealed(manifest.segments[: position + 1])
            state.rotate(manifest.segments[: position + 2])
            state.end = SEGMENT_HEADER_SIZE
            if segment.index_end == segment.end:
                state.sealed(state.segments)
        return attrs.evolve(loaded, manifest=attrs.evolve(manifest, rotations=rotations))

    async def _follow_to(self, state: State, end: int) -> None:
        """Replay the active segment's frames up to ``end``."""
        number = state.active_segment.number
        file = state.files.log(number)
        if end < state.end:
            raise _LostTrack
        changes: list[Change] = []
        behind = 0
        found = frames(file, log_id=state.files.log_id, number=number, start=state.end, end=end)
        for frame in found:
            changes += apply_frame(state, frame)
            state.end += frame.frame.length
            behind += frame.frame.length
            if behind >= SLICE_BYTES:
                self._publish(changes)
                changes, behind = [], 0
                await trio.lowlevel.checkpoint()
        self._publish(changes)

    def _publish(self, changes: list[Change]) -> None:
        for change in changes:
            if change.kind == fmt.EVENTS and change.events:
                ended = [mark.run_id for mark in change.marks if mark.what == ENDED]
                head = change.seq + change.events - 1
                self._news.publish(change.session_id, head, ended)
            elif change.kind == fmt.TOMBSTONE:
                self._news.wake_session(change.session_id)


class _LostTrack(Exception):
    """What was read last does not lead to what is there now."""
