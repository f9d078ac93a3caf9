from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal import format as fmt
from moorage.stores.journal import rewriting
from moorage.stores.journal.changes import (
    Encoded,
    encode_events,
    encode_snapshot,
    encode_tombstone,
    encode_trim,
)
from moorage.stores.journal.directory import Directory
from moorage.stores.journal.files import Files
from moorage.stores.journal.gather import Budget, fetch, gather, sealed_part
from moorage.stores.journal.index import MemoryIndex
from moorage.stores.journal.manifest import Layout, Segment
from moorage.stores.journal.rewriting import Rewritten, live_bytes, rewrite
from moorage.stores.journal.sealing import write_side_file
from moorage.stores.journal.target import Target
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYOUT = Layout(Path("/journal"))
LOG_ID = bytes(16)
NEW = 9
TEXT = "x" * 500


class Sealing:
    """Writes sealed segments with their side files, one after the other."""

    def __init__(self, new_info: Any) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_directory(LAYOUT.segments)
        self.files = Files(self.disk, LAYOUT, LOG_ID)
        self.directory = Directory()
        self.segments: list[Segment] = []
        self.paces = 0
        self._new_info = new_info

    def events(self, session_id: str, first_seq: int, *types: str) -> Encoded:
        records = [encode_event(1, type, "R", {"text": TEXT}) for type in types or ("note",)]
        return encode_events(session_id, first_seq, records, self._new_info(session_id))

    def segment(self, *encoded: Encoded) -> Segment:
        """A segment with one frame for each of these."""
        number = len(self.segments) + 1
        index, file = MemoryIndex(), self.disk.create(LAYOUT.segment(number))
        start = fmt.SEGMENT_HEADER_SIZE
        target = Target(file, log_id=LOG_ID, number=number, end=start, synced=True)
        for changes, blocks in encoded:
            offset = target.end + fmt.FRAME_HEADER_SIZE
            target.write(blocks)
            for change in changes:
                index.apply(change, offset)
                self.directory.apply(change, number)
                offset += change.length
        unsealed = Segment(number, low=number, high=number, end=target.end)
        write_side_file(self.files, unsealed, target.end, index, self.directory)
        for session_id in index.blocks:
            self.directory.entries[session_id].segment = number
        segment = Segment(number, number, number, target.end, target.end)
        self.segments.append(segment)
        return segment

    def apply(self, encoded: Encoded) -> None:
        for change in encoded[0]:
            self.directory.apply(change, len(self.segments) + 1)

    def pace(self) -> None:
        self.paces += 1

    def rewrite(self, sources: Sequence[Segment]) -> Rewritten:
        return rewrite(self.files, sources, NEW, self.directory, self.pace)

    def seqs(self, segment: Segment, session_id: str) -> list[int]:
        """What is in a segment of a session, by its side file and its blocks."""
        index = self.files.index(segment)
        row = index.find(session_id)
        if row is None or not row.blocks_count:
            return []
        part = sealed_part(segment.number, index, row)
        budget = Budget(10**6, 10**9)
        located = gather(iter([part]), row.first_seq, row.last_seq, budget, backwards=False)
        blocks = fetch(located, session_id, self.files)
        return [event.seq for block in blocks for event in block]


@pytest.fixture
def sealing(new_info: Any) -> Sealing:
    return Sealing(new_info)


def rewritten(sources: Sequence[Segment], new: Rewritten) -> Segment:
    return Segment(NEW, sources[0].low, sources[-1].high, new.end, new.end)


@pytest.mark.parametrize("frame_bytes", [1, rewriting.FRAME_BYTES])
def test_what_is_live_in_several_segments_is_in_the_new_one(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch, frame_bytes: int
) -> None:
    monkeypatch.setattr(rewriting, "FRAME_BYTES", frame_bytes)
    one = sealing.segment(sealing.events("a", 1), sealing.events("b", 1), sealing.events("a", 2))
    two = sealing.segment(sealing.events("b", 2), sealing.events("a", 3), sealing.events("c", 1))
    sealing.apply(encode_trim("a", 2))
    sealing.apply(encode_tombstone("b", 2))

    new = rewritten([one, two], sealing.rewrite([one, two]))

    assert [sealing.seqs(new, session_id) for session_id in "abc"] == [[2, 3], [], [1]]
    assert sealing.files.index(new).sessions == 2
    assert sealing.paces > 0


def test_a_block_that_is_trimmed_in_part_is_kept_whole(sealing: Sealing) -> None:
    segment = sealing.segment(sealing.events("a", 1, "note", "note", "note"))
    sealing.apply(encode_trim("a", 3))

    new = rewritten([segment], sealing.rewrite([segment]))

    assert sealing.seqs(new, "a") == [1, 2, 3]


def test_only_the_snapshot_that_counts_is_kept(sealing: Sealing) -> None:
    one = sealing.segment(sealing.events("a", 1), encode_snapshot("a", 1, b"old"))
    two = sealing.segment(sealing.events("a", 2), encode_snapshot("a", 2, b"new"))
    three = sealing.segment(sealing.events("b", 1), encode_snapshot("b", 1, b"only"))

    new = rewritten([one, two, three], sealing.rewrite([one, two, three]))

    index = sealing.files.index(new)
    for session_id, seq, body in (("a", 2, b"new"), ("b", 1, b"only")):
        row = index.find(session_id)
        assert row is not None
        block = sealing.files.log(NEW).read(row.snapshot_length, row.snapshot_offset)
        assert (row.snapshot_seq, block[-len(body) :]) == (seq, body)
    file = sealing.disk.files()[LAYOUT.segment(NEW)]
    assert b"old" not in file


def test_runs_are_indexed_anew_and_the_chain_goes_on_before_the_oldest_source(
    sealing: Sealing,
) -> None:
    sealing.segment(sealing.events("a", 1))
    two = sealing.segment(sealing.events("a", 2, "run_submitted"))
    three = sealing.segment(sealing.events("a", 3, "run_completed"))

    new = rewritten([two, three], sealing.rewrite([two, three]))

    index = sealing.files.index(new)
    row = index.find("a")
    assert row is not None
    assert index.find_run("a", "R") == (2, 3)
    assert row.previous == 1


def test_nothing_is_left_behind_where_nothing_is_live(sealing: Sealing) -> None:
    segment = sealing.segment(sealing.events("a", 1))
    sealing.apply(encode_trim("a", 2))
    before = set(sealing.disk.files())

    assert sealing.rewrite([segment]) == Rewritten(0, 0)
    assert set(sealing.disk.files()) == before


def test_the_new_files_survive_power_loss(sealing: Sealing) -> None:
    segment = sealing.segment(sealing.events("a", 1), sealing.events("b", 1))
    new = rewritten([segment], sealing.rewrite([segment]))

    crashed = sealing.disk.crashed(lambda choices: 1)

    sealing.files = Files(crashed, LAYOUT, LOG_ID)
    assert sealing.seqs(new, "a") == sealing.seqs(new, "b") == [1]


def test_the_size_that_is_left_is_known_beforehand(sealing: Sealing) -> None:
    segment = sealing.segment(
        *(sealing.events(session_id, seq) for seq in (1, 2, 3) for session_id in "abc"),
        encode_snapshot("a", 3, b"state"),
    )
    sealing.apply(encode_trim("b", 3))
    sealing.apply(encode_tombstone("c", 3))

    expected = live_bytes(sealing.files, segment, sealing.directory, sealing.pace)

    assert expected == sealing.rewrite([segment]).end
    assert expected < (segment.end or 0)


def test_a_damaged_block_is_not_copied(sealing: Sealing) -> None:
    segment = sealing.segment(sealing.events("a", 1))
    path = LAYOUT.segment(1)
    damaged = bytearray(sealing.disk.files()[path])
    damaged[-1] ^= 1
    sealing.disk.put(path, bytes(damaged))

    with pytest.raises(CorruptLog, match=r"00000001\.log"):
        sealing.rewrite([segment])
