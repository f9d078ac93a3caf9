from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.codec import encode_event, encode_info
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.ports import Claim, Record
from moorage.stores.conformance.scenario import facts as info_facts
from moorage.stores.jsonl.batches import batch, behind, put_together
from moorage.stores.jsonl.commit_log import REMOVE, REPLACE
from moorage.stores.jsonl.scanning import Facts
from moorage.stores.jsonl.works import Appending

INFO = encode_info(info_facts("a", summary="s"))
FACTS = Facts("a", "a", 5, 0, 0, 6, 1, 3, 1, 100, 8, INFO)
RECORDS = [encode_event(9, "t", None, {"n": n}) for n in (1, 2)]


def appending(records: list[Record], info: bytes | None) -> Appending:
    return Appending(Claim("a", 1, 6, 1, None, None), 7, records, info)


def test_an_append_is_lines_one_behind_the_other() -> None:
    content, events = batch(FACTS, RECORDS, None, 2)

    first, second, rest = content.split(b"\n")
    assert rest == b""
    assert (first[:9], second[:9]) == (b'{"seq":7,', b'{"seq":8,')
    assert [line.offset for line in events] == [100, 100 + len(first) + 1]
    assert [line.head.seq for line in events] == [7, 8]
    assert b'"commit":2,"crc":"' in second


def test_the_facts_behind_it_are_of_the_last_record() -> None:
    content, _ = batch(FACTS, RECORDS, None, 2)

    facts = behind(FACTS, content, appending(RECORDS, None), 2)

    assert (facts.head_seq, facts.modified_at_ns, facts.commit) == (8, 9, 2)
    assert (facts.end, facts.lines, facts.info) == (100 + len(content), 10, INFO)


def test_an_info_alone_is_one_line_and_no_event() -> None:
    other = encode_info(info_facts("a", summary="other"))
    content, events = batch(FACTS, [], other, 2)

    facts = behind(FACTS, content, appending([], other), 2)

    assert (events, content.count(b"\n")) == ([], 1)
    assert (facts.head_seq, facts.modified_at_ns, facts.lines, facts.info) == (6, 3, 9, other)


@pytest.mark.parametrize("record", [Record(1, "\ud800", None, b""), Record(10**30, "t", None, b"")])
def test_what_no_line_can_hold_is_refused(record: Record) -> None:
    with pytest.raises(InvalidArgument, match="'a' cannot be kept"):
        batch(FACTS, [record], None, 2)


def test_parts_that_follow_each_other_are_one_write() -> None:
    parts: list[tuple[Any, Any, Any]] = [(5, 10, b"ab"), (5, 12, b"c")]

    assert put_together(parts) == [(5, 10, b"abc")]
    assert put_together([(6, REPLACE, b"new"), (6, 3, b"er")]) == [(6, REPLACE, b"newer")]


def test_what_is_replaced_or_removed_afterwards_was_in_vain() -> None:
    parts: list[tuple[Any, Any, Any]] = [(5, 10, b"ab"), (6, REPLACE, b"gone"), (7, REPLACE, b"x")]

    assert put_together(parts) == [(7, REPLACE, b"x")]
    assert put_together([*parts, (0, REMOVE, b"")]) == [(0, REMOVE, b"")]
    assert put_together([(0, REMOVE, b""), (8, REPLACE, b"y")]) == [(8, REPLACE, b"y")]
