from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.stores.journal import JournalStore, verify
from moorage.stores.journal import format as fmt

FIXTURES = Path(__file__).parents[2] / "fixtures" / "journal-v1"
LOG_ID = bytes(range(16))


@pytest.mark.parametrize("name", ["closed", "killed"])
async def test_what_version_1_wrote_is_read_for_ever(
    name: str, tmp_path: Path, scribe: Any, new_log: Any, open_store: Any
) -> None:
    path = tmp_path / "journal"
    shutil.copytree(FIXTURES / name, path)
    expected = json.loads((FIXTURES / f"{name}.json").read_text())
    scribe.logs = {session_id: new_log(**log) for session_id, log in expected.items()}

    assert verify(path).sound
    async with JournalStore(path).reading() as reader:
        await scribe.check(reader)
    async with open_store(JournalStore(path)) as store:
        await scribe.check(store)
        await scribe.write(store, 20)
        await store.compact()
        await scribe.check(store)


def test_a_segment_header_is_64_bytes_and_comes_back() -> None:
    header = fmt.SegmentHeader(LOG_ID, 7, 1_700_000_000_000_000_000, 5)

    packed = fmt.pack_segment_header(header)

    assert len(packed) == fmt.SEGMENT_HEADER_SIZE == 64
    assert fmt.parse_segment_header(packed, file="f") == header


@pytest.mark.parametrize("offset", range(64))
def test_a_segment_header_with_a_flipped_byte_is_refused(offset: int) -> None:
    packed = bytearray(fmt.pack_segment_header(fmt.SegmentHeader(LOG_ID, 7, 1, 7)))
    packed[offset] ^= 1

    with pytest.raises(CorruptLog):
        fmt.parse_segment_header(bytes(packed), file="f")


def test_a_version_from_the_future_is_told() -> None:
    with pytest.raises(StoreFailed, match="version 2") as caught:
        fmt.check_version(2, file="f")

    assert caught.value.written is False


@given(st.binary(min_size=1, max_size=200), st.integers(64, 2**40), st.integers(1, 2**20))
def test_a_frame_is_good_in_its_own_place_only(body: bytes, offset: int, number: int) -> None:
    seed = fmt.frame_seed(LOG_ID, number, offset)
    frame = fmt.pack_frame_header(seed, body, offset) + body

    parsed = fmt.parse_frame_header(frame, seed, offset)
    fmt.check_frame(frame, parsed)

    assert parsed == (offset, len(frame), offset)
    for other in (
        fmt.frame_seed(LOG_ID, number, offset + 1),
        fmt.frame_seed(LOG_ID, number + 1, offset),
        fmt.frame_seed(bytes(16), number, offset),
    ):
        with pytest.raises(fmt.Damaged):
            fmt.parse_frame_header(frame, other, offset)


@given(st.integers(0, 300))
def test_zeros_are_no_frame(size: int) -> None:
    with pytest.raises(fmt.Damaged):
        fmt.parse_frame_header(bytes(size), fmt.frame_seed(LOG_ID, 1, 64), 64)


@given(
    st.sampled_from(sorted(fmt.KINDS)),
    st.text(max_size=64).filter(lambda text: text < "\ud800" or text > "\udfff"),
    st.integers(0, fmt.SEQ_MAX),
    st.binary(max_size=50),
    st.binary(max_size=50),
)
def test_a_block_comes_back_and_every_flip_is_noticed(
    kind: int, session_id: str, seq: int, meta: bytes, content: bytes
) -> None:
    packed = fmt.pack_block(
        kind, session_id.encode(), seq, count=3, flags=1, time_ns=-5, meta=meta, content=content
    )

    block = fmt.parse_block(b"..." + packed, 3, 1000, check=True)

    assert block[:8] == (1000, len(packed), kind, 1, 3, seq, -5, session_id)
    assert (bytes(block.meta), bytes(block.content)) == (meta, content)
    for offset in range(len(packed)):
        damaged = bytearray(packed)
        damaged[offset] ^= 0x80
        with pytest.raises((fmt.Damaged, ValueError)):
            fmt.parse_block(bytes(damaged), 0, 0, check=True)
