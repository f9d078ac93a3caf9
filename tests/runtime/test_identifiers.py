from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.identifiers import (
    NAME_BYTES_MAX,
    SESSION_ID_BYTES_MAX,
    check_name,
    check_session_id,
    sortable_id,
)


@pytest.mark.parametrize("value", ["a", "user-42", "Zoë / 東京", "x" * SESSION_ID_BYTES_MAX, "🚢"])
def test_usable_ids_come_back_unchanged(value: str) -> None:
    assert value == check_session_id(value)


@pytest.mark.promise(17)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "empty"),
        (" \u2003", "blank"),
        (None, "NoneType"),
        (7, "int"),
        (b"user", "bytes"),
        ("a\x00b", "control character '\\x00'"),
        ("a\nb", "control character '\\n'"),
        ("a\x7f", "control character"),
        ("a\x9bb", "control character"),
        ("a\u2028b", "control character"),
        ("a\ud800", "control character"),
        ("x" * (SESSION_ID_BYTES_MAX + 1), f"limit is {SESSION_ID_BYTES_MAX}"),
        ("é" * (SESSION_ID_BYTES_MAX // 2 + 1), f"{SESSION_ID_BYTES_MAX + 2} bytes"),
    ],
)
def test_unusable_ids_are_refused_with_the_reason(value: object, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_session_id(value)

    assert why in str(caught.value)
    assert "session id" in str(caught.value)


def test_a_name_says_what_it_is_the_name_of() -> None:
    with pytest.raises(InvalidArgument, match="cursor name must not be empty"):
        check_name("cursor name", "")
    with pytest.raises(InvalidArgument, match="key is 4 bytes of UTF-8 and the limit is 3"):
        check_name("key", "abcd", bytes_max=3)
    assert check_name("key", "k" * NAME_BYTES_MAX) == "k" * NAME_BYTES_MAX


def test_a_subclass_of_str_is_no_id() -> None:
    class Text(str):
        """Could compare or hash in its own way."""

        __slots__ = ()

    with pytest.raises(InvalidArgument, match="must be a str, not Text"):
        check_session_id(Text("user"))


@given(st.text())
@example("\u0085")
def test_every_accepted_id_is_one_printable_line_that_can_be_encoded(value: str) -> None:
    try:
        check_session_id(value)
    except InvalidArgument:
        return

    assert [value] == value.splitlines()
    assert 0 < len(value.encode()) <= SESSION_ID_BYTES_MAX


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_ids_sort_by_the_millisecond_in_which_they_were_made(first: int, second: int) -> None:
    ids = [sortable_id("run", time_ns, b"\x00" * 10) for time_ns in (first, second)]

    assert (first // 1_000_000 <= second // 1_000_000) == (ids[0] <= ids[1])


def test_an_id_is_its_prefix_twelve_digits_of_time_and_the_randomness() -> None:
    assert (
        sortable_id("ses", 255_999_999, bytes(range(1, 11)))
        == "ses_0000000000ff0102030405060708090a"
    )
