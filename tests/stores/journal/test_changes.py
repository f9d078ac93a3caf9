from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime import codec
from moorage.runtime.sessions import SessionState
from moorage.stores.journal import changes
from moorage.stores.journal import format as fmt
from moorage.stores.journal.changes import (
    BLOCK_BYTES_MAX,
    BLOCK_RECORDS_MAX,
    Change,
    decode_change,
    encode_cursor,
    encode_events,
    encode_info,
    encode_snapshot,
    encode_tombstone,
    encode_trim,
    name_hash,
    unpack_info,
)

if TYPE_CHECKING:
    from moorage.runtime.ports import Record

names = st.text(min_size=1, max_size=20)


def note(size: int = 1) -> Record:
    return codec.encode_event(1, "note", None, b"x" * size)


def decoded(block: bytes) -> Change:
    return decode_change(fmt.parse_block(block, 0, 0, check=True))


@pytest.mark.parametrize(
    "encoded",
    [
        encode_snapshot("a", 7, b"state"),
        encode_cursor("a", "reader", 7),
        encode_trim("a", 7),
        encode_tombstone("a", 7),
        encode_info("a", 8, b"info", flags=3, time_ns=5),
        encode_events("a", 8, [note(), note()], None),
    ],
)
def test_what_is_decoded_is_what_was_encoded(encoded: changes.Encoded) -> None:
    (change,), (block,) = encoded

    assert decoded(block) == change._replace(marks=list(change.marks))


@given(st.lists(st.tuples(names, st.one_of(st.none(), names), st.booleans()), max_size=10))
def test_runs_and_keys_are_marked(runs: list[tuple[str, str | None, bool]]) -> None:
    records = [
        codec.encode_event(
            1, "run_submitted" if key or not ends else "run_failed", run_id, None, key=key
        )
        for run_id, key, ends in runs
    ]

    (change,), (block,) = encode_events("a", 5, [note(), *records], None)

    assert [(mark.run_id, mark.key) for mark in change.marks] == [run[:2] for run in runs]
    assert [mark.seq for mark in change.marks] == list(range(6, 6 + len(runs)))
    assert list(decoded(block).marks) == list(change.marks)


def test_a_large_append_is_cut_into_blocks_of_bounded_count_and_size(new_info: Any) -> None:
    for records in (
        [note()] * (3 * BLOCK_RECORDS_MAX + 1),
        [note(BLOCK_BYTES_MAX // 3)] * 10,
        [note(2 * BLOCK_BYTES_MAX), note(), note(2 * BLOCK_BYTES_MAX)],
    ):
        some, blocks = encode_events("a", 1, records, new_info("a"))

        assert len(some) > 1
        assert sum(change.events for change in some) == len(records)
        assert [change.info is not None for change in some] == [False] * (len(some) - 1) + [True]
        seq = 1
        for change, block in zip(some, blocks, strict=True):
            assert change.seq == seq
            seq += change.events
            assert 0 < change.events <= BLOCK_RECORDS_MAX
            assert len(block) < BLOCK_BYTES_MAX + 200 or change.events == 1


def test_an_info_comes_back_with_what_the_store_knows_better(new_info: Any) -> None:
    info = new_info(
        "a",
        state=SessionState.CLOSED,
        summary="hello",
        slots=3,
        outcome="failed",
        reason="why not",
        runs={"completed": 2},
        metadata={"deep": {"list": [1, None]}},
    )
    (change,), _ = encode_events("a", 1, [], info)
    assert change.info is not None

    found = unpack_info(change.info, head_seq=9, modified_at_ns=8)

    assert found == attrs.evolve(info, head_seq=9, modified_at_ns=8)
    assert change.flags == fmt.HAS_INFO | fmt.CLOSED


def test_fields_of_an_info_that_a_later_release_added_are_ignored(new_info: Any) -> None:
    fields = codec.unpack(codec.encode_struct(new_info("a")))

    found = unpack_info(codec.pack({**fields, "colour": 1}), head_seq=0, modified_at_ns=1)

    assert found == new_info("a")


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x01", codec.pack({"id": "a"})])
def test_what_is_no_info_is_damage(body: bytes) -> None:
    with pytest.raises(fmt.Damaged):
        unpack_info(body, head_seq=0, modified_at_ns=0)


def test_names_that_are_no_text_have_a_hash_too_since_they_may_be_asked_for() -> None:
    hashes = {name_hash("a", "run", name) for name in ("\ud800", "\ud801", "?", "")}

    assert len(hashes) == 4
