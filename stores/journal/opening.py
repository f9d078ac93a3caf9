"""Opening for writing: lock, recover, raise the generation. Blocks; the store runs it in a thread.

In this order, so that a crash at any point leaves what the next opening understands: the format
is checked before anything is written; damage is judged before anything is cut; the tail is cut
and synced before the manifest says that there is a new owner.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

import attrs
from moorage.runtime.errors import CorruptLog, SessionHeld, StoreFailed

from .disk import Disk, File, Lock, Locked
from .durable import DurableEnd, pack_durable
from .format import SEGMENT_HEADER_SIZE, SegmentHeader
from .manifest import Layout, Manifest, Segment, load_manifest, store_manifest
from .recovery import Recovery, load_durable, new_segment, replay, settle_tail
from .state import State
from .target import Target

HOLDER_BYTES_MAX = 4096


@attrs.define
class Opened:
    """A log that this process owns."""

    disk: Disk
    layout: Layout
    lock: Lock
    manifest: Manifest
    state: State
    target: Target
    durable: File
    recovery: Recovery
    next_number: int
    checkpoint_bytes: int

    def take_number(self) -> int:
        """A number for a new file; it comes back only if nothing names the file."""
        number = self.next_number
        self.next_number += 1
        return number

    def close(self) -> None:
        """Close the files and let go of the lock."""
        self.state.files.close()
        self.target.file.close()
        self.durable.close()
        self.lock.release()

    def publish(self, offset: int) -> None:
        """Let other processes read up to ``offset`` of the active segment. Raises OSError."""
        end = DurableEnd(self.manifest.generation, self.target.number, offset, self.target.synced)
        self.durable.write([pack_durable(end)], 0)


def open_log(disk: Disk, layout: Layout, *, owner: str, synced: bool) -> Opened:
    """Raises SessionHeld, CorruptLog and StoreFailed."""
    try:
        # a newer format is refused before anything is written
        existing = load_manifest(disk, layout) is not None
        _make_root(disk, layout, existing=existing)
        lock = _take_lock(disk, layout, owner)
        try:
            return _open_locked(disk, layout, lock, synced)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise StoreFailed(
            f"the journal in {layout.root} cannot be opened for writing: {error}; it needs a "
            "directory that this user may write to, and room (reading needs neither: open_reader)",
            written=False,
        ) from error


def _make_root(disk: Disk, layout: Layout, *, existing: bool) -> None:
    """Make the journal's directory, and its name durable too."""
    missing = []
    for path in (layout.root, *layout.root.parents):
        try:
            disk.list(path)
            break
        except FileNotFoundError:
            missing.append(path)
    disk.make_directory(layout.root)
    if not missing and not existing:
        missing.append(layout.root)  # whoever made it may have died before its name was durable
    for path in missing:
        disk.sync_directory(path.parent)


def _take_lock(disk: Disk, layout: Layout, owner: str) -> Lock:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    holder = f"{owner} (process {os.getpid()} on {socket.gethostname()}, since {since})"
    try:
        return disk.lock(layout.lock, holder)
    except Locked:
        file = disk.open(layout.lock)
        try:
            text = file.read(HOLDER_BYTES_MAX, 0).decode(errors="replace")
        finally:
            file.close()
        raise SessionHeld(f"the journal in {layout.root}", holder=text or "a process") from None


def _open_locked(disk: Disk, layout: Layout, lock: Lock, synced: bool) -> Opened:
    for directory in (layout.segments, layout.directories):
        disk.make_directory(directory)
    disk.sync_directory(layout.root)
    manifest = load_manifest(disk, layout) or _create(disk, layout)
    result = replay(disk, layout, manifest)
    active = manifest.active
    file = disk.open(layout.segment(active.number), write=True)
    recovery = settle_tail(file, result, str(layout.segment(active.number)))
    manifest = attrs.evolve(manifest, generation=manifest.generation + 1, clean=False)
    store_manifest(disk, layout, manifest)
    recovery = attrs.evolve(recovery, orphans_removed=remove_orphans(disk, layout, manifest))
    target = Target(
        file,
        log_id=manifest.log_id,
        number=active.number,
        end=result.state.end,
        synced=synced,
    )
    durable = _open_durable(disk, layout)
    opened = Opened(
        disk,
        layout,
        lock,
        manifest,
        result.state,
        target,
        durable,
        recovery,
        manifest.next_number,
        _checkpoint_bytes(disk, layout, manifest),
    )
    opened.publish(target.end)
    return opened


def _checkpoint_bytes(disk: Disk, layout: Layout, manifest: Manifest) -> int:
    if not manifest.directory:
        return 0
    file = disk.open(layout.directory(manifest.directory))
    try:
        return file.size()
    finally:
        file.close()


def _open_durable(disk: Disk, layout: Layout) -> File:
    try:
        return disk.open(layout.durable, write=True)
    except FileNotFoundError:
        return disk.create(layout.durable)


def _create(disk: Disk, layout: Layout) -> Manifest:
    """Start a new log; the manifest is its first moment of existence."""
    number = 1
    for name in disk.list(layout.segments):
        file = disk.open(layout.segments / name)
        try:
            if file.size() > SEGMENT_HEADER_SIZE:
                reason = f"it is missing, but there is {name}"
                raise CorruptLog(file=str(layout.manifest), offset=0, reason=reason)
        finally:
            file.close()
    durable = load_durable(disk, layout)
    if durable is not None and (durable.number, durable.offset) > (number, SEGMENT_HEADER_SIZE):
        reason = "it is missing, but DURABLE tells of commits"
        raise CorruptLog(file=str(layout.manifest), offset=0, reason=reason)
    created_ns = time.time_ns()
    log_id = os.urandom(16)
    new_segment(disk, layout, SegmentHeader(log_id, number, created_ns, number)).close()
    manifest = Manifest(
        log_id=log_id,
        created_ns=created_ns,
        generation=0 if durable is None else durable.generation,
        next_number=number + 1,
        segments=(Segment(number, low=number, high=number),),
        directory=0,
        replay_place=number,
        replay_offset=SEGMENT_HEADER_SIZE,
        clean=True,
    )
    store_manifest(disk, layout, manifest)
    return manifest


def remove_orphans(disk: Disk, layout: Layout, manifest: Manifest) -> int:
    """Remove files that the manifest does not name: what a crash left. Returns how many."""
    wanted = {layout.segment(segment.number) for segment in manifest.segments}
    wanted |= {
        layout.index(segment.number, segment.index_end)
        for segment in manifest.segments
        if segment.index_end
    }
    wanted.add(layout.directory(manifest.directory))
    removed = 0
    for directory in (layout.segments, layout.directories):
        for name in disk.list(directory):
            if directory / name not in wanted:
                with suppress(FileNotFoundError):
                    disk.unlink(directory / name)
                    removed += 1
    return removed
