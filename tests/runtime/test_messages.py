"""Messages are read from what a run was given, and written as events that say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import Event, NewEvent
from moorage.runtime.messages import (
    Message,
    content_blocks,
    digest,
    event_places,
    input_messages,
    message_events,
    message_from_plain,
    message_to_plain,
    readable_blocks,
    readable_input,
    received_blocks,
    summary_block,
    text_block,
    text_message,
    tool_call_block,
    tool_result_block,
)
from moorage.runtime.transcript import Transcript

IMAGE = {"type": "image", "media_type": "image/png", "data": b"png"}


@pytest.mark.parametrize("key", ["prompt", "content", "text"])
def test_an_input_says_what_the_user_said(key: str) -> None:
    assert input_messages({key: "hello", "customer": 7}) == [text_message("user", "hello")]


def test_an_input_may_be_the_text_itself() -> None:
    assert input_messages("hello") == [text_message("user", "hello")]


def test_an_input_may_be_blocks_and_an_image_alone_says_something() -> None:
    assert input_messages({"content": [IMAGE]}) == [Message("user", [IMAGE])]


def test_an_input_may_be_a_list_of_messages() -> None:
    listed = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [text_block("a"), "b"]},
        {"role": "assistant", "content": [tool_call_block("c1", "look", {})]},
        {"role": "tool", "content": [{"type": "tool_result", "tool_call_id": "c1"}]},
    ]

    messages = input_messages({"messages": listed})

    assert [message.role for message in messages] == ["system", "user", "assistant", "tool"]
    assert messages[1].text == "ab"
    assert messages[2].tool_calls == [tool_call_block("c1", "look", {})]
    assert messages[3].tool_results == [tool_result_block("c1", "", None)]


BAD_INPUTS: list[tuple[Any, str]] = [
    (7, "must be a str or a map, not int"),
    ("  ", "input is empty"),
    ({}, "exactly one of prompt, content, text, messages; it has none"),
    ({"prompt": "a", "text": "b"}, "it has prompt, text"),
    ({"prompt": ["a"]}, r"input\['prompt'\] must be a str, not list"),
    ({"content": 7}, r"input\['content'\] must be a str or a list of blocks, not int"),
    ({"content": []}, r"input\['content'\] is empty"),
    ({"content": [{"type": "video"}]}, r"input\['content'\]\[0\] must be a map whose type is one"),
    ({"content": [7]}, r"input\['content'\]\[0\] must be a map"),
    ({"content": [{"type": "text"}]}, "its text must be str, not 'None'"),
    ({"content": [{"type": ["text"]}]}, "must be a map whose type"),
    ({"content": [{**IMAGE, "data": "aGk="}]}, "its data must be bytes"),
    ({"messages": []}, "at least one map of role and content"),
    ({"messages": "hello"}, "at least one map of role and content"),
    ({"messages": [7]}, r"input\['messages'\]\[0\] must be a map"),
    ({"messages": [{"role": "cat", "content": "miaow"}]}, "one of system, user, assistant, tool"),
    ({"messages": [{"role": "user"}]}, r"\[0\]\['content'\] must be a str or a list"),
]


@pytest.mark.parametrize(("input", "why"), BAD_INPUTS)
def test_an_input_that_says_nothing_is_refused_with_the_place(input: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        input_messages(input)

    assert readable_input(input) == []


def test_what_can_be_read_of_any_content_is_read() -> None:
    odd = ["a", 7, {"type": "future", "text": "b"}, {"type": "future"}, None, IMAGE]

    assert readable_blocks(odd) == [text_block("a"), text_block("b"), IMAGE]
    assert readable_blocks(None) == []
    assert readable_blocks({"text": "c"}) == [text_block("c")]
    assert content_blocks("") == []


def test_a_received_message_has_its_calls_once() -> None:
    first, second = tool_call_block("c1", "look", {}), tool_call_block("c2", "look", {})

    blocks = received_blocks({"blocks": [first], "tool_calls": [first, second, 7]})

    assert blocks == [first, second]
    assert received_blocks({"content": "a", "tool_calls": "none"}) == [text_block("a")]


def test_content_is_the_text_where_that_is_all() -> None:
    assert text_message("user", "a").content == "a"
    assert Message("user", [IMAGE]).content == [IMAGE]
    assert Message("user", [{"type": "thinking", "text": "a"}]).content != "a"
    assert Message("user", [text_block("a"), text_block("b")]).content != "ab"


def test_a_summary_is_told_from_what_was_said() -> None:
    message = Message("user", [summary_block("they met", of="context")])

    assert message.is_summary
    assert "they met" in message.text
    assert not text_message("user", "they met").is_summary


MESSAGES = [
    text_message("system", "be brief"),
    Message("user", [text_block("look"), IMAGE], time_ns=5),
    Message(
        "assistant",
        [text_block("I look"), tool_call_block("c1", "look", {"at": 1})],
        original={"provider": "p", "content": [1]},
    ),
    Message("tool", [tool_result_block("c1", "look", "a cat")]),
    Message("assistant", [tool_call_block("c2", "look", {}), tool_call_block("c3", "look", {})]),
    Message("tool", [tool_result_block("c2", "look", "dark", is_error=True)]),
    Message("tool", [tool_result_block("c3", "look", {"a": 1}, is_error=True)]),
    Message("assistant", [text_block("a c")], partial=True),
    text_message("assistant", "a cat"),
]


def said(messages: list[Message]) -> list[Any]:
    return [(m.role, m.blocks, m.partial, m.original) for m in messages]


def test_messages_as_events_are_the_same_messages_again() -> None:
    events = [
        Event("s", seq, 100 + seq, new.type, None, new.data, new.metadata)
        for seq, new in enumerate(message_events(MESSAGES), 1)
    ]

    messages = Transcript().extend(events).messages()

    assert said(messages) == said(MESSAGES)
    assert messages[1].time_ns == 5
    assert [event.type for event in events][3:7] == [
        "tool_call_completed",
        "message_received",
        "tool_call_failed",
        "tool_call_failed",
    ]


def test_each_message_knows_its_first_event() -> None:
    two = [tool_result_block("c1", "look", 1), tool_result_block("c2", "look", 2)]

    places = event_places([text_message("user", "a"), Message("tool", two), MESSAGES[-1]])

    assert places == [0, 1, 3]
    assert event_places([]) == []


def test_a_failed_result_tells_why() -> None:
    events = message_events(MESSAGES)

    assert events[5].data["error"] == {"code": "tool_failed", "message": "dark"}
    assert events[6].data["error"] == {"code": "tool_failed", "message": "the tool failed"}


def test_a_tool_message_with_more_than_results_is_kept_whole() -> None:
    message = Message("tool", [text_block("found")])

    assert message_events([message]) == [
        NewEvent("message_sent", {"role": "tool", "content": "found"})
    ]


def test_plain_maps_of_messages_have_role_and_content_first_and_come_back() -> None:
    full = Message("user", [IMAGE], 3, "run", 7, True, {"provider": "p", "content": []})

    plain = message_to_plain(full)

    assert list(plain)[:2] == ["role", "content"]
    assert message_from_plain(plain) == full
    assert message_to_plain(text_message("user", "a")) == {"role": "user", "content": "a"}


def test_a_plain_map_with_a_wrong_field_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"line 3\['seq'\] must be int, not 'one'"):
        message_from_plain({"role": "user", "content": "a", "seq": "one"}, "line 3")


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def digest_of(value: Any) -> str:
    return digest([Message("tool", [tool_result_block("c", "t", value)])])


@given(plain_values, plain_values)
def test_a_digest_is_the_same_for_the_same_content_alone(one: Any, other: Any) -> None:
    same = repr(_sorted(one)) == repr(_sorted(other))

    assert (digest_of(one) == digest_of(other)) is same


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def test_a_digest_tells_values_apart_that_look_alike() -> None:
    alike: list[Any] = [1, True, 1.0, "1", b"1", [1], {"1": 1}, [], {}, None, "", "None"]
    alike += [[{"a": "b"}, {}], [{}, {"a": "b"}]]

    assert len({digest_of(value) for value in alike}) == len(alike)
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of("\ud800") != digest_of("\ud801")
