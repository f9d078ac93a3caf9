"""What goes on beside the commits: switching to a new segment, sealing the old one, closing.

Whoever changes the manifest while the journal is open (this, and compaction) holds ``changing``.
Each step leaves a manifest behind that a crash may find:

1. A new segment file is made; between two frames the manifest names it as the active one, and the
   old one as sealed, still to be replayed.
2. The old segment's side file and a directory checkpoint are written, then the manifest says that
   replay begins with the new segment.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import attrs
import structlog
import trio
from moorage.runtime.errors import StoreFailed

from .checkpoint import store_directory
from .disk import SyncFailed, remove
from .format import SEGMENT_HEADER_SIZE, SegmentHeader
from .manifest import Segment, store_manifest
from .recovery import new_segment
from .sealing import write_side_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from .commits import CommitLoop
    from .manifest import Manifest
    from .opening import Opened
    from .target import Target

RETRY_SECONDS = 1.0
"""What failed is tried again after this long, however much is committed meanwhile."""
SLICE_SESSIONS = 2_000
"""Entries brought up to date in one go, about a millisecond."""
CHECKPOINT_RATIO = 4
"""A segment grows to this many times the size of the directory checkpoint that its end costs."""

T = TypeVar("T")

_log = structlog.get_logger("moorage.journal")


class Maintenance:
    """Runs beside the commit loop of one open journal. ``sealed`` is called after each seal."""

    def __init__(self, opened: Opened, commits: CommitLoop, *, segment_bytes: int) -> None:
        self._opened = opened
        self._commits = commits
        self._segment_bytes = segment_bytes
        self._checkpoint_bytes = opened.checkpoint_bytes
        self._kick = trio.Event()
        self._stop = trio.Event()
        self.stopped = trio.Event()
        self.changing = trio.Lock()
        self.sealed: Callable[[], None] = lambda: None
        self.rotations = 0
        if opened.state.sealing is not None:
            self._kick.set()

    def grown(self, end: int) -> None:
        """A commit has brought the active segment to this size."""
        if end >= self._rotate_at():
            self._kick.set()

    def stop(self) -> None:
        """Let ``run`` return after the step that it is at."""
        self._stop.set()
        self._kick.set()

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.stopped.set()

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._kick.wait()
            self._kick = trio.Event()
            try:
                await self._work()
            except SyncFailed as error:
                self._commits.fail(error)
                return
            except (OSError, StoreFailed) as error:
                if self._commits.poison is not None:
                    return
                # nothing is lost by doing it later, only the next opening takes longer
                _log.warning("journal maintenance failed", error=repr(error))
                with trio.move_on_after(RETRY_SECONDS):
                    await self._stop.wait()
                self._kick.set()

    async def _work(self) -> None:
        async with self.changing:
            if self._opened.state.sealing is not None:
                await self._seal()
            if self._opened.target.end >= self._rotate_at() and self._commits.poison is None:
                await self._rotate()
                await self._seal()

    async def seal_active(self) -> None:
        """Seal the active segment now, whatever its size, unless it is empty.

        Raises OSError and StoreFailed. What failed is tried again in the background.
        """
        async with self.changing:
            try:
                if self._opened.state.sealing is not None:
                    await self._seal()
                if self._opened.target.end > SEGMENT_HEADER_SIZE:
                    await self._rotate()
                    await self._seal()
            except SyncFailed as error:
                raise self.poisoned(error) from error
            except (OSError, StoreFailed):
                self._kick.set()
                raise

    def poisoned(self, error: SyncFailed) -> StoreFailed:
        """Refuse every write from now on; returns what to raise."""
        poison = self._commits.fail(error)
        if self._commits.poison is not None:
            poison = self._commits.poison  # there was one before
        return StoreFailed(poison.message, poisoned=True)

    def _rotate_at(self) -> int:
        return max(self._segment_bytes, CHECKPOINT_RATIO * self._checkpoint_bytes)

    async def _rotate(self) -> None:
        opened = self._opened
        manifest = opened.manifest
        number = opened.take_number()
        header = SegmentHeader(manifest.log_id, number, time.time_ns(), number)
        file = await in_thread(lambda: new_segment(opened.disk, opened.layout, header))
        target = opened.target

        async def switch() -> None:
            if not target.synced:
                await self._sync(target)
            old = attrs.evolve(manifest.active, end=target.end)
            segments = (*manifest.segments[:-1], old, Segment(number, low=number, high=number))
            rotations = manifest.rotations + 1
            await self.store(attrs.evolve(manifest, segments=segments, rotations=rotations))
            opened.state.rotate(segments)
            opened.state.end = SEGMENT_HEADER_SIZE
            target.switch(file, number, SEGMENT_HEADER_SIZE)
            try:
                opened.publish(SEGMENT_HEADER_SIZE)
            except OSError as error:  # readers in other processes learn of it with the next commit
                _log.warning("durable offset not published", error=repr(error))

        async with self.discarding([opened.layout.segment(number)]):
            await self._commits.between_frames(switch)

    async def _sync(self, target: Target) -> None:
        """With BUFFERED durability the old segment may not be on the disk yet."""
        try:
            await in_thread(target.sync)
        except SyncFailed as error:
            self._commits.fail(error)  # at once, before another frame is written
            raise

    async def _seal(self) -> None:
        """Write what makes the replay of the segment before the active one unnecessary."""
        opened = self._opened
        state, manifest = opened.state, opened.manifest
        sealing = state.sealing
        assert sealing is not None
        assert sealing.segment.end is not None
        old, end = sealing.segment, sealing.segment.end
        session_ids = list(state.directory.entries)
        target_file = opened.target.file
        number = opened.take_number()

        made = [opened.layout.directory(number)]
        if old.index_end != end:  # else nothing came since a clean close wrote this very file
            made.append(opened.layout.index(old.number, end))

        def write() -> int:
            if old.index_end != end:
                write_side_file(state.files, old, end, sealing.index, state.directory)
            size = store_directory(
                opened.disk,
                opened.layout,
                number,
                log_id=manifest.log_id,
                directory=state.directory,
                session_ids=session_ids,
                in_sealing=(old.high, sealing.index.blocks),
            )
            target_file.sync()  # the checkpoint may tell of what is not synced yet
            return size

        done = attrs.evolve(old, index_end=end)
        segments = tuple(done if segment is old else segment for segment in manifest.segments)
        async with self.discarding(made):
            self._checkpoint_bytes = await in_thread(write)
            await self.store(
                attrs.evolve(
                    manifest,
                    segments=segments,
                    directory=number,
                    replay_place=manifest.active.high,
                    replay_offset=SEGMENT_HEADER_SIZE,
                )
            )
        await self._take_over(segments, old.high)
        await self._forget(manifest, old)
        self.rotations += 1
        self.sealed()

    async def _take_over(self, segments: tuple[Segment, ...], place: int) -> None:
        """``state.sealed``, but letting others run now and then when there is much to do."""
        state = self._opened.state
        assert state.sealing is not None
        # from here on both indexes lead to the same blocks, which readers stand
        state.set_segments(segments)
        for count, session_id in enumerate(state.sealing.index.blocks, 1):
            state.directory.entries[session_id].segment = place
            if count % SLICE_SESSIONS == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
        state.sealing = None

    async def close(self) -> None:
        """Attest everything, so that the next opening replays nothing. Raises OSError."""
        async with self.changing:
            await self._close()

    async def _close(self) -> None:
        opened = self._opened
        if self._commits.poison is not None:
            return
        if opened.state.sealing is not None:
            await self._seal()
        manifest = opened.manifest
        end = opened.target.end
        if (manifest.active.high, end) == (manifest.replay_place, manifest.replay_offset):
            await self.store(attrs.evolve(manifest, clean=True))
            return
        state, old = opened.state, manifest.active
        number = opened.take_number()

        def write() -> None:
            opened.target.sync()
            write_side_file(state.files, old, end, state.active, state.directory)
            store_directory(
                opened.disk,
                opened.layout,
                number,
                log_id=manifest.log_id,
                directory=state.directory,
                session_ids=state.directory.entries,
                in_sealing=(old.high, state.active.blocks),
            )

        done = attrs.evolve(old, index_end=end)
        made = [opened.layout.directory(number), opened.layout.index(old.number, end)]
        async with self.discarding(made):
            await in_thread(write)
            await self.store(
                attrs.evolve(
                    manifest,
                    segments=(*manifest.segments[:-1], done),
                    directory=number,
                    replay_place=old.high,
                    replay_offset=end,
                    clean=True,
                )
            )
        await self._forget(manifest, old)

    async def store(self, manifest: Manifest) -> None:
        """Put a changed manifest in force. Raises OSError. It is the last that may fail within
        ``discarding``: afterwards the manifest names the new files."""
        opened = self._opened
        manifest = attrs.evolve(manifest, next_number=opened.next_number)
        try:
            await in_thread(lambda: store_manifest(opened.disk, opened.layout, manifest))
        except SyncFailed as error:
            # Either manifest may be found after a crash. At once, before another frame goes to a
            # segment that one of them says has ended:
            self._commits.fail(error)
            raise
        opened.manifest = manifest

    async def _forget(self, before: Manifest, segment: Segment) -> None:
        """Remove what the manifest named before and names no more."""
        layout = self._opened.layout
        paths: list[Path] = []
        if before.directory:
            paths.append(layout.directory(before.directory))
        named = {(one.number, one.index_end) for one in self._opened.manifest.segments}
        if segment.index_end and (segment.number, segment.index_end) not in named:
            paths.append(layout.index(segment.number, segment.index_end))

        await self.unlink(paths)

    @asynccontextmanager
    async def discarding(self, paths: Sequence[Path]) -> AsyncIterator[None]:
        """Remove new files again when what makes the manifest name them fails."""
        try:
            yield
        except BaseException:
            # after a failed sync a manifest that names them may be in force
            if self._commits.poison is None:
                await self.unlink(paths)
            raise

    async def unlink(self, paths: Sequence[Path]) -> None:
        """Remove files that the manifest does not name (any more)."""
        await in_thread(lambda: remove(self._opened.disk, paths))


async def in_thread(work: Callable[[], T]) -> T:
    # What has begun to change files is always waited for. It has a limiter of its own: the
    # threads of trio's default one may all be waiting for the store.
    with trio.CancelScope(shield=True):
        return await trio.to_thread.run_sync(work, limiter=trio.CapacityLimiter(1))
    raise AssertionError("a shielded scope was cancelled")
