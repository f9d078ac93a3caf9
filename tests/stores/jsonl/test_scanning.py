from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.codec import encode_event, encode_info
from moorage.stores.conformance.scenario import facts as info_facts
from moorage.stores.jsonl import scanning
from moorage.stores.jsonl.lines import Damage, close, event_line, note_line
from moorage.stores.jsonl.rewriting import header_line
from moorage.stores.jsonl.scanning import (
    Facts,
    read_header,
    read_lines,
    scan,
    whole_batch_follows,
)
from moorage.stores.simulated_disk import SimulatedDisk, SimulatedFile

PATH = Path("/file")


def file_of(content: bytes) -> SimulatedFile:
    disk = SimulatedDisk()
    disk.make_directory(PATH.parent)
    file = disk.create(PATH)
    file.write([content], 0)
    return file


def new_facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "session_id": "a",
        "stem": "a",
        "file": 5,
        "life": 0,
        "after": 0,
        "head_seq": 0,
        "oldest_seq": 1,
        "modified_at_ns": 0,
        "commit": 1,
        "end": 0,
        "lines": 1,
        "info": None,
    }
    return Facts(**{**values, **changes})


def batch(*seqs: int, commit: int = 1, summary: str | None = None) -> bytes:
    info = None if summary is None else encode_info(info_facts("a", summary=summary))
    lines = [
        event_line(
            seq,
            encode_event(seq, "t", None, {"number": seq, "padding": "\u2028" * 20}),
            info if seq == seqs[-1] else None,
        )
        for seq in seqs
    ]
    return close(lines, "a", commit)


HEADER = header_line(new_facts())
BATCHES = [batch(1, 2, 3, summary="first"), batch(4, commit=2), batch(5, 6, commit=3)]


def scanned(content: bytes, *, start: Facts | None = None) -> scanning.Scan:
    file = file_of(content)
    return scan(file, start or read_header(file), to=len(content), keep_events=True)


@given(
    texts=st.lists(st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"")), max_size=6),
    whole=st.booleans(),
    chunk=st.integers(1, 9),
)
def test_lines_are_those_between_the_ends_whatever_the_chunks(
    texts: list[bytes], whole: bool, chunk: int
) -> None:
    content = b"".join(text + b"\n" for text in texts)[: None if whole else -1]
    file = file_of(b"skipped" + content)
    original, scanning.CHUNK_BYTES = scanning.CHUNK_BYTES, chunk
    try:
        lines = list(read_lines(file, 7, 7 + len(content)))
    finally:
        scanning.CHUNK_BYTES = original

    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    ends = [line.text if not line.whole else line.text.removesuffix(b"\r") for line in lines]
    assert ends == [
        text.removesuffix(b"\r") if line.whole else text
        for text, line in zip(expected, lines, strict=True)
    ]
    assert [content[line.offset - 7 : line.end - 7].rstrip(b"\n") for line in lines] == expected


def test_a_file_tells_its_head_its_info_and_its_events() -> None:
    content = HEADER + b"".join(BATCHES)

    found = scanned(content)

    assert found.bad is None
    assert [line.head.seq for line in found.events] == [1, 2, 3, 4, 5, 6]
    assert content[found.events[3].offset :].startswith(b'{"seq":4,')
    facts = found.facts
    assert (facts.head_seq, facts.modified_at_ns, facts.commit) == (6, 6, 3)
    assert (facts.end, facts.lines) == (len(content), 7)
    assert facts.info == encode_info(info_facts("a", summary="first"))


def test_crlf_ends_lines_as_well() -> None:
    content = (HEADER + b"".join(BATCHES)).replace(b"\n", b"\r\n")

    found = scanned(content)

    assert found.bad is None
    assert found.facts.head_seq == 6
    assert found.facts.end == len(content)


def test_a_note_trims_and_replaces_the_info() -> None:
    info = {"id": "a", "state": "open", "tags": {}, "metadata": {}, "created_at_ns": 1}
    info |= {"modified_at_ns": 1, "head_seq": 0, "runs": {}, "slots": 1, "summary": "later"}
    notes = close([note_line(trim=3)], "a", 3) + close([note_line(info=info)], "a", 4)

    facts = scanned(HEADER + b"".join(BATCHES) + notes).facts

    assert facts.oldest_seq == 3
    assert facts.info == encode_info(
        info_facts("a", summary="later", created_at_ns=1, modified_at_ns=1)
    )


def test_scanning_goes_on_where_it_stopped() -> None:
    first = HEADER + BATCHES[0]
    start = scanned(first).facts

    found = scanned(first + BATCHES[1] + BATCHES[2], start=start)

    assert found.facts == scanned(first + BATCHES[1] + BATCHES[2]).facts
    assert [line.head.seq for line in found.events] == [4, 5, 6]


@pytest.mark.parametrize("cut", [1, 30, *range(100, len(BATCHES[2]), 90), len(BATCHES[2]) - 1])
def test_a_tail_torn_anywhere_is_no_part_of_the_log(cut: int) -> None:
    good = HEADER + BATCHES[0] + BATCHES[1]
    content = good + BATCHES[2][:cut]

    found = scanned(content)

    assert found.facts.end == len(good)
    assert found.facts.head_seq == 4
    assert found.bad is not None
    assert found.bad.line == 6 + BATCHES[2][:cut].count(b"\n") or found.bad.line == 6
    assert not whole_batch_follows(file_of(content), "a", found.bad.offset, len(content))


def test_every_changed_byte_is_noticed_and_told_from_a_torn_tail() -> None:
    content = HEADER + b"".join(BATCHES)
    end = len(HEADER) + len(BATCHES[0])
    for place in range(len(HEADER), end, 7):
        wrong = bytearray(content)
        wrong[place] ^= 1

        found = scanned(bytes(wrong))

        assert found.facts.end == len(HEADER)
        assert found.bad is not None
        assert 2 <= found.bad.line <= 5
        assert whole_batch_follows(file_of(bytes(wrong)), "a", found.bad.offset, len(wrong))


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (BATCHES[0] + batch(5), 5, "seq 5 where 4 should be"),
        (BATCHES[0] + BATCHES[0], 5, "seq 1 where 4 should be"),
        (BATCHES[0].replace(b'"number":2', b'"number":9'), 4, "lines 2 to 4 is wrong"),
        (BATCHES[0] + BATCHES[1].replace(b'"number":4', b'"number":9'), 5, "checksum of it is"),
        (BATCHES[0] + b"\x00" * 50 + b"\n" + BATCHES[1], 6, "wrong"),
        (BATCHES[0] + b'{"seq":4,"type":1}\n', 5, "does not begin as it should"),
        (BATCHES[0] + b"hello\n", 5, "nothing closes the batch that begins here"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_reason(content: bytes, line: int, reason: str) -> None:
    bad = scanned(HEADER + content).bad

    assert bad is not None
    assert (bad.line, reason in bad.reason) == (line, True), bad
    error = bad.error("a.jsonl")
    assert (error.file, error.offset) == ("a.jsonl", bad.offset)
    assert f"line {line}: " in error.reason


def test_a_batch_of_another_session_is_none_of_this_one() -> None:
    foreign = close([event_line(1, encode_event(1, "t", None, 1))], "b", 1)

    assert scanned(HEADER + foreign).bad is not None


def test_a_whole_batch_is_found_far_behind_a_wrong_place() -> None:
    many = batch(*range(1, 300))
    wrong = HEADER + many.replace(b'"number":7,', b'"number":8,', 1) + batch(*range(300, 600))

    bad = scanned(wrong).bad

    assert bad is not None
    assert whole_batch_follows(file_of(wrong), "a", bad.offset, len(wrong))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER[:-1],
        HEADER.replace(b'"life":0', b'"life":1'),
        b"{}\n",
        close([b'{"session_id":"a"}'], "a", 1),
    ],
)
def test_a_first_line_that_is_none_is_damage(content: bytes) -> None:
    with pytest.raises(Damage):
        read_header(file_of(content))
