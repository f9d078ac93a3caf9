from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from moorage.runtime.codec import encode_event, encode_info
from moorage.stores.conformance.scenario import facts as info_facts
from moorage.stores.jsonl.layout import Layout
from moorage.stores.jsonl.lines import Damage, close, event_line, note_line
from moorage.stores.jsonl.rewriting import header_line, rewrite, worth_rewriting
from moorage.stores.jsonl.scanning import Facts, read_header, scan

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))
PATH = LAYOUT.sessions / "a.jsonl"
NEW = Facts("a", "a", 5, 0, 0, 0, 1, 0, 0, 0, 1, None)


def batch(*seqs: int, commit: int, summary: str | None = None) -> bytes:
    info = None if summary is None else encode_info(info_facts("a", summary=summary))
    lines = [
        event_line(seq, encode_event(seq, "t", None, {}), info if seq == seqs[-1] else None)
        for seq in seqs
    ]
    return close(lines, "a", commit)


def written(disk: SimulatedDisk, trimmed_before: int) -> Facts:
    content = (
        header_line(NEW)
        + batch(1, commit=1, summary="one")
        + batch(2, 3, 4, commit=2, summary="two")
        + batch(5, 6, commit=3)
        + close([note_line(trim=trimmed_before)], "a", 3)
    )
    disk.make_directory(LAYOUT.sessions)
    file = disk.create(PATH)
    file.write([content], 0)
    return scan(file, read_header(file), to=len(content), keep_events=False).facts


@pytest.mark.parametrize("before", range(2, 8))
def test_what_is_left_is_the_rest_and_all_facts(before: int, disk: SimulatedDisk) -> None:
    facts = written(disk, before)

    new = rewrite(disk, LAYOUT, facts, 99)

    file = disk.crashed(lambda count: count - 1).open(PATH)
    found = scan(file, read_header(file), to=file.size(), keep_events=True)
    assert found.bad is None
    assert [line.head.seq for line in found.events] == list(range(before, 7))
    assert found.facts == new
    assert new == attrs.evolve(facts, file=99, after=before - 1, end=new.end, lines=new.lines)
    assert new.info == encode_info(info_facts("a", summary="two"))


def test_a_file_that_cannot_be_written_leaves_the_old_one(disk: SimulatedDisk) -> None:
    facts = written(disk, 4)
    before = disk.files()
    disk.fail("write", 1)

    with pytest.raises(OSError, match="injected"):
        rewrite(disk, LAYOUT, facts, 99)

    assert disk.files() == before


def test_a_file_that_is_shorter_than_it_was_is_damage(disk: SimulatedDisk) -> None:
    facts = written(disk, 2)

    with pytest.raises(Damage, match="shorter than it was"):
        rewrite(disk, LAYOUT, attrs.evolve(facts, end=facts.end + 5), 99)


@pytest.mark.parametrize(
    ("end", "oldest_seq", "worth"), [(2**17, 60, True), (2**17, 50, False), (2**15, 100, False)]
)
def test_it_is_worth_it_for_half_of_a_large_file(end: int, oldest_seq: int, worth: bool) -> None:
    facts = attrs.evolve(NEW, head_seq=100, end=end, oldest_seq=oldest_seq)

    assert worth_rewriting(facts) is worth
