from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog
from moorage.stores.jsonl.layout import Layout
from moorage.stores.jsonl.lines import close, event_line, note_line
from moorage.stores.jsonl.loading import (
    Moved,
    follow_log,
    load_events,
    load_log,
    opened_log,
    spans_of,
)
from moorage.stores.jsonl.rewriting import header_line
from moorage.stores.jsonl.scanning import Facts, read_header, scan

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))
PATH = LAYOUT.sessions / "a.jsonl"
NEW = Facts("a", "a", 5, 0, 0, 0, 1, 0, 0, 0, 1, None)


def batch(*seqs: int) -> bytes:
    events = [
        encode_event(seq, "run_submitted" if seq == 2 else "t", "r", {"n": seq}) for seq in seqs
    ]
    return close(
        [event_line(seq, event) for seq, event in zip(seqs, events, strict=True)], "a", seqs[0]
    )


BATCHES = (batch(1, 2), close([note_line(trim=2)], "a", 1), batch(3), batch(4, 5))


def put(disk: SimulatedDisk, *batches: bytes, header: Facts = NEW) -> Facts:
    disk.make_directory(LAYOUT.sessions)
    file = disk.create(PATH)
    file.write([header_line(header), *batches], 0)
    return scan(file, read_header(file), to=file.size(), keep_events=False).facts


def test_events_are_loaded_from_where_they_stand(disk: SimulatedDisk) -> None:
    facts = put(disk, *BATCHES)
    log = load_log(disk, LAYOUT, facts)

    spans = spans_of(log, [2, 3, 5])
    events = load_events(disk, LAYOUT, facts, spans)

    assert [(span.first, span.count) for span in spans] == [(2, 2), (5, 1)]
    assert [(event.seq, event.data["n"]) for event in events] == [(2, 2), (3, 3), (5, 5)]
    assert (log.oldest_seq, log.head_seq, log.run_seqs("r")) == (2, 5, (2, 0))


def test_a_log_that_grew_is_extended(disk: SimulatedDisk) -> None:
    before = put(disk, *BATCHES[:2])
    log = load_log(disk, LAYOUT, before)
    after = put(disk, *BATCHES)
    found = follow_log(disk, LAYOUT, "a", before, keep_events=True)
    assert found is not None
    facts, events = found
    assert events is not None

    log.extend(events, facts)

    assert facts == after
    assert log.end == facts.end
    loaded = load_events(disk, LAYOUT, facts, spans_of(log, range(2, 6)))
    assert [event.seq for event in loaded] == [2, 3, 4, 5]


def test_a_file_that_was_replaced_or_is_gone_has_moved(disk: SimulatedDisk) -> None:
    facts = put(disk, *BATCHES)
    put(disk, *BATCHES, header=attrs.evolve(NEW, file=6))
    with pytest.raises(Moved):
        load_log(disk, LAYOUT, facts)

    disk.unlink(PATH)
    with pytest.raises(Moved), opened_log(disk, LAYOUT, facts):
        pass


def test_damage_is_told_by_line_or_seq(disk: SimulatedDisk) -> None:
    facts = put(disk, *BATCHES)
    log = load_log(disk, LAYOUT, facts)
    content = disk.files()[PATH]
    for wrong, reason in (
        (content.replace(b'"data":{"n":3}', b'"data":{"n":3]'), "the line of seq 3: not JSON"),
        (content.replace(b'{"seq":3', b'{"seq":9'), "seq 3 does not stand here any more"),
        (content.replace(b'{"seq":3', b'{"saq":3'), "seq 3 does not stand here any more"),
    ):
        disk.put(PATH, wrong)
        with pytest.raises(CorruptLog, match=reason):
            load_events(disk, LAYOUT, facts, spans_of(log, [3]))
        with pytest.raises(CorruptLog, match="line 5"):
            load_log(disk, LAYOUT, facts)


def test_a_first_line_that_is_wrong_is_damage(disk: SimulatedDisk) -> None:
    facts = put(disk, *BATCHES)
    disk.put(PATH, disk.files()[PATH].replace(b'"life":0', b'"life":7'))

    with pytest.raises(CorruptLog, match="line 1"):
        load_log(disk, LAYOUT, facts)
    with pytest.raises(CorruptLog, match="line 1"):
        follow_log(disk, LAYOUT, "a", None, keep_events=False)


def test_following_takes_whole_batches_and_leaves_what_is_on_its_way(disk: SimulatedDisk) -> None:
    facts = put(disk, *BATCHES[:3], BATCHES[3][:50])

    found = follow_log(disk, LAYOUT, "a", facts, keep_events=True)

    assert found == (facts, [])
    assert facts.head_seq == 3


def test_following_notices_a_replaced_file_and_one_that_never_was(disk: SimulatedDisk) -> None:
    before = put(disk, *BATCHES)
    assert follow_log(disk, LAYOUT, "a", before, keep_events=True) == (before, None)
    after = put(disk, *BATCHES[:1], header=attrs.evolve(NEW, file=6))

    assert follow_log(disk, LAYOUT, "a", before, keep_events=True) == (after, None)
    assert follow_log(disk, LAYOUT, "b", None, keep_events=True) is None


def test_following_refuses_damage_in_the_middle(disk: SimulatedDisk) -> None:
    put(disk, BATCHES[0], BATCHES[2].replace(b'"n":3', b'"n":4'), BATCHES[3])

    with pytest.raises(CorruptLog, match="line 4"):
        follow_log(disk, LAYOUT, "a", None, keep_events=False)
