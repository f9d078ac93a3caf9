from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.agents.model_twin.replies import (
    Cut,
    Garbage,
    HttpError,
    Stall,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Usage,
    parts_of,
    split,
)
from moorage.runtime.errors import InvalidArgument


@given(st.text(), st.none() | st.integers(1, 50))
def test_pieces_joined_are_the_text_and_none_is_empty(text, pieces):
    found = split(text, pieces)

    assert "".join(found) == text
    assert all(found)


@given(st.text(min_size=1), st.integers(1, 50))
def test_there_are_as_many_pieces_as_were_asked_for_or_as_there_are_characters(text, pieces):
    assert len(split(text, pieces)) == min(pieces, len(text))


def test_without_a_number_a_text_is_split_by_words():
    assert split("Hello big  world", None) == ["Hello ", "big ", " ", "world"]


def test_a_reply_may_be_a_text_a_part_or_a_sequence_of_both():
    assert parts_of("a") == (Text("a"),)
    assert parts_of(Cut()) == (Cut(),)
    assert parts_of(["a", Stall(1)]) == (Text("a"), Stall(1))
    assert parts_of([]) == ()


@pytest.mark.parametrize("reply", [None, 1, b"bytes", [1], [["a"]], {"text": "a"}])
def test_what_is_no_reply_is_refused(reply):
    with pytest.raises(InvalidArgument, match="must be a str"):
        parts_of(reply)


@pytest.mark.parametrize(
    ("make", "value_named"),
    [
        (lambda: Text(1), "1"),
        (lambda: Text("a", pieces=0), "0"),
        (lambda: Text("a", seconds_between=-1), "-1"),
        (lambda: Text("a", seconds_between=float("inf")), "inf"),
        (lambda: Thinking(None), "None"),
        (lambda: ToolUse(""), "''"),
        (lambda: ToolUse("a", "text"), "'text'"),
        (lambda: ToolUse("a", {"a": object()}), "JSON"),
        (lambda: ToolUse("a", raw_arguments=b"{"), "b'{'"),
        (lambda: Usage(input_tokens=-1), "-1"),
        (lambda: Usage(output_tokens=1.5), "1.5"),
        (lambda: Stop("bored"), "'bored'"),
        (lambda: HttpError(200), "200"),
        (lambda: HttpError(429, retry_after=-1), "-1"),
        (lambda: Stall(float("nan")), "nan"),
        (lambda: Garbage("text"), "'text'"),
    ],
)
def test_a_part_refuses_what_it_cannot_play_and_names_it(make, value_named):
    with pytest.raises(InvalidArgument, match=r"must be|cannot be written") as caught:
        make()

    assert value_named in str(caught.value)


def test_arguments_of_a_call_are_its_input_unless_raw_ones_are_given():
    assert ToolUse("a", {"b": "é"}).arguments == '{"b": "é"}'
    assert ToolUse("a", {"b": 1}, raw_arguments='{"b": ').arguments == '{"b": '


def test_a_tool_of_free_text_gets_the_only_value_or_the_raw_arguments():
    assert ToolUse("patch", {"input": "+a"}).free_text == "+a"
    assert ToolUse("patch", raw_arguments="+b").free_text == "+b"
    assert ToolUse("patch", {"a": "1", "b": "2"}).free_text == '{"a": "1", "b": "2"}'
