from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.codec import encode_event
from moorage.stores.journal import sealing
from moorage.stores.journal.changes import encode_events, encode_snapshot, name_hash
from moorage.stores.journal.directory import Directory
from moorage.stores.journal.files import Files
from moorage.stores.journal.index import MemoryIndex, pack_run
from moorage.stores.journal.manifest import Layout, Segment
from moorage.stores.journal.sealing import merged_keys, merged_runs, write_side_file
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from moorage.stores.journal.sealed import SealedIndex

LAYOUT = Layout(Path("/journal"))
LOG_ID = bytes(16)


class Indexing:
    """A segment whose blocks are indexed in memory and written to side files."""

    def __init__(self, new_info: Any) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_directory(LAYOUT.segments)
        self.files = Files(self.disk, LAYOUT, LOG_ID)
        self.directory = Directory()
        self.index = MemoryIndex()
        self.index_end = 0
        self._new_info = new_info

    def write(self, session_id: str, seq: int, offset: int, *types: str, key: Any = None) -> None:
        records = [encode_event(1, type, "R", {}, key=key) for type in types]
        [change] = encode_events(session_id, seq, records, self._new_info(session_id))[0]
        self.directory.apply(change, 5)
        self.index.apply(change, offset)

    def seal(self, end: int) -> SealedIndex:
        """Write the side file up to ``end`` and go on with an empty index in memory."""
        segment = Segment(1, low=5, high=5, end=None, index_end=self.index_end)
        write_side_file(self.files, segment, end, self.index, self.directory)
        self.index, self.index_end = MemoryIndex(), end
        return self.files.index(Segment(1, low=5, high=5, end=end, index_end=end))


@pytest.fixture
def indexing(new_info: Any) -> Indexing:
    return Indexing(new_info)


def spans_of(index: SealedIndex, session_id: str) -> list[tuple[int, int, int]]:
    row = index.find(session_id)
    assert row is not None
    return [(span.first_seq, span.offset, span.events) for span in index.spans(row)]


def test_a_second_side_file_has_what_the_first_had_and_what_came_since(
    indexing: Indexing,
) -> None:
    for number in range(40):
        if number % 4 != 3:
            indexing.write(f"session-{number}", 1, 64 + number, "note", "note")
    indexing.seal(1_000)
    for number in range(40):
        if number % 4 != 0:
            indexing.write(f"session-{number}", 3, 1_000 + number, "note")

    index = indexing.seal(2_000)

    for number in range(40):
        old, new = (1, 64 + number, 2), (3, 1_000 + number, 1)
        expected = {0: [old], 3: [new]}.get(number % 4, [old, new])
        assert spans_of(index, f"session-{number}") == expected
    assert index.sessions == 40
    hashes = [row.hash for row in index.rows()]
    assert hashes == sorted(hashes)


def test_a_run_and_a_key_are_found_over_two_side_files(indexing: Indexing) -> None:
    indexing.write("a", 1, 64, "run_submitted", key="K")
    indexing.seal(1_000)
    indexing.write("a", 2, 1_000, "run_completed")

    index = indexing.seal(2_000)

    assert index.find_run("a", "R") == (1, 2)
    assert index.find_key("a", "K") == 1


def test_the_newer_snapshot_counts_and_an_older_one_is_kept_without_a_newer(
    indexing: Indexing,
) -> None:
    for session_id in ("a", "b"):
        indexing.write(session_id, 1, 64, "note")
        indexing.index.apply(encode_snapshot(session_id, 1, b"old")[0][0], 200)
    indexing.seal(1_000)
    indexing.write("b", 2, 1_000, "note")
    indexing.index.apply(encode_snapshot("a", 1, b"newer")[0][0], 1_500)

    index = indexing.seal(2_000)

    rows = [index.find(session_id) for session_id in ("a", "b")]
    assert [row and row.snapshot_offset for row in rows] == [1_500, 200]


def test_a_row_leads_to_the_segment_that_held_the_session_before(indexing: Indexing) -> None:
    indexing.write("a", 1, 64, "note")
    indexing.write("b", 1, 100, "note")
    indexing.directory.entries["a"].segment = 3
    first = indexing.seal(1_000)
    indexing.directory.entries["a"].segment = 4  # what was written stays as it is
    indexing.write("a", 2, 1_000, "note")

    second = indexing.seal(2_000)

    for index in (first, second):
        rows = [index.find(session_id) for session_id in ("a", "b")]
        assert [row and row.previous for row in rows] == [3, 0]


def test_a_side_file_survives_power_loss_when_it_was_written(indexing: Indexing) -> None:
    indexing.disk.sync_directory(LAYOUT.segments)
    indexing.write("a", 1, 64, "note")
    indexing.seal(1_000)

    crashed = indexing.disk.crashed(lambda choices: 1)

    index = Files(crashed, LAYOUT, LOG_ID).index(Segment(1, 5, 5, 1_000, 1_000))
    assert spans_of(index, "a") == [(1, 64, 1)]


def test_a_file_written_in_many_pieces_is_the_same(
    indexing: Indexing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "CHUNK_BYTES", 50)
    for number in range(20):
        indexing.write(f"session-{number}", 1, 64 + number, "note")

    index = indexing.seal(1_000)

    for number in range(20):
        assert spans_of(index, f"session-{number}") == [(1, 64 + number, 1)]


def test_a_new_life_of_a_reused_run_id_is_not_ended_by_the_old_one(indexing: Indexing) -> None:
    indexing.write("a", 1, 64, "run_submitted", "run_completed", key="K")
    older = indexing.seal(1_000)
    hash, key = name_hash("a", "run", "R"), name_hash("a", "key", "K")

    assert merged_runs({hash: pack_run(7, 0)}, older) == [(hash, 7, 0)]
    assert merged_runs({}, older) == [(hash, 1, 2)]
    assert merged_runs({9: pack_run(1, 0), 3: pack_run(2, 5)}, None) == [(3, 2, 5), (9, 1, 0)]
    assert merged_keys({key: 7}, older) == [(key, 7)]
    assert merged_keys({9: 1, 3: 2}, None) == [(3, 2), (9, 1)]
