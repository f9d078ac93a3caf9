"""Cursors: what was put in comes out again, for the same query and for no other."""

from __future__ import annotations

import base64
import json
import zlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime import InvalidArgument, InvalidCursor
from moorage.runtime.query_cursors import (
    _SEED,
    CURSOR_CHARS_MAX,
    VERSION,
    Query,
    decode_cursor,
    encode_cursor,
)

QUERY = Query("runs", "session ascending", {"prefix": "a", "tags": {"b": "c"}}, (str, int))
CURSOR = encode_cursor(QUERY, ("user-1", 7))

ids = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=60
)


def sealed(body: bytes, version: int = VERSION) -> str:
    """A cursor with a right checksum, whatever is in it."""
    first = bytes((version,))
    checksum = zlib.crc32(first + body, _SEED).to_bytes(4, "big")
    return base64.urlsafe_b64encode(first + checksum + body).rstrip(b"=").decode()


@given(ids, st.integers(0, 2**63 - 1))
def test_a_position_goes_round(session_id: str, seq: int) -> None:
    cursor = encode_cursor(QUERY, (session_id, seq))

    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert len(cursor) <= CURSOR_CHARS_MAX
    assert decode_cursor(QUERY, cursor) == (session_id, seq)


def test_the_longest_id_fits() -> None:
    position = ("\U0001f600" * 64, 2**63 - 1)

    assert decode_cursor(QUERY, encode_cursor(QUERY, position)) == position


def test_filters_that_select_nothing_are_the_same_as_none() -> None:
    plain = attrs.evolve(QUERY, filters={})
    empty = attrs.evolve(QUERY, filters={"prefix": "", "tags": None, "states": None})

    assert decode_cursor(empty, encode_cursor(plain, ("a", 1))) == ("a", 1)


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        ({"kind": "events"}, "kind", "search that returned it"),
        ({"order": "session descending"}, "order", "order of the first page"),
        ({"filters": {"prefix": "b"}}, "filters", "other filters"),
        ({"position": (int, str, int)}, "damaged", "exactly as it came"),
    ],
)
def test_a_cursor_is_of_its_query_only(change, reason: str, remedy: str) -> None:
    with pytest.raises(InvalidCursor, match=remedy) as refused:
        decode_cursor(attrs.evolve(QUERY, **change), CURSOR)

    assert (refused.value.reason, refused.value.code) == (reason, "invalid_cursor")
    assert isinstance(refused.value, InvalidArgument)


@given(st.integers(0, len(CURSOR) - 1), st.sampled_from("AbZ09-_"))
def test_no_changed_character_goes_unnoticed(place: int, other: str) -> None:
    damaged = CURSOR[:place] + other + CURSOR[place + 1 :]
    if damaged == CURSOR:
        return
    if place == len(CURSOR) - 1 and bits(damaged) == bits(CURSOR):
        assert decode_cursor(QUERY, damaged) == ("user-1", 7)
        return
    with pytest.raises(InvalidCursor) as refused:
        decode_cursor(QUERY, damaged)

    assert refused.value.reason == "damaged"


def bits(cursor: str) -> bytes:
    """What it stands for: a few bits behind the last byte mean nothing."""
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


@pytest.mark.parametrize("length", range(len(CURSOR)))
def test_a_cursor_that_was_cut_is_damaged(length: int) -> None:
    with pytest.raises(InvalidCursor) as refused:
        decode_cursor(QUERY, CURSOR[:length])

    assert refused.value.reason == "damaged"


@pytest.mark.parametrize(
    "cursor",
    [
        "x" * (CURSOR_CHARS_MAX + 1),
        "ä",
        "===",
        CURSOR + "\n",
        sealed(b"\xff"),
        sealed(b"[" * 1_000),
        sealed(b"{}"),
        sealed(b"[1, 2]"),
        sealed(json.dumps(["runs", "session ascending", QUERY.digest, "a", True]).encode()),
        sealed(json.dumps(["runs", "session ascending", QUERY.digest, "a", -1]).encode()),
        sealed(json.dumps(["runs", "session ascending", QUERY.digest, "a", 2**63]).encode()),
        sealed(json.dumps(["runs", "session ascending", QUERY.digest, "\ud800", 1]).encode()),
        sealed(json.dumps(["runs", "session ascending", QUERY.digest, "a\0", 1]).encode()),
    ],
)
def test_what_is_no_cursor_of_ours_is_damaged(cursor: str) -> None:
    with pytest.raises(InvalidCursor) as refused:
        decode_cursor(QUERY, cursor)

    assert refused.value.reason == "damaged"


def test_an_empty_id_is_a_position_in_front_of_all() -> None:
    assert decode_cursor(QUERY, encode_cursor(QUERY, ("", 0))) == ("", 0)


def test_a_cursor_of_a_newer_release_is_told_apart_from_damage() -> None:
    with pytest.raises(InvalidCursor, match="version 2") as refused:
        decode_cursor(QUERY, sealed(b"whatever comes", version=2))

    assert refused.value.reason == "version"


@pytest.mark.parametrize("cursor", [7, b"x", ["x"]])
def test_what_is_no_text_is_no_cursor(cursor: object) -> None:
    with pytest.raises(InvalidArgument, match="next_cursor"):
        decode_cursor(QUERY, cursor)
