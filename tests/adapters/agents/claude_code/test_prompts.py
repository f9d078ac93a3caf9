from __future__ import annotations

import pytest
from moorage.adapters.agents.claude_code.prompts import (
    instructions,
    prompt_content,
    user_message,
)
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message, text_message

IMAGE = {"type": "image", "media_type": "image/png", "data": b"\x89PNG"}


def test_a_single_text_is_said_as_it_is():
    assert prompt_content([], [text_message("user", "Hello")]) == "Hello"


def test_images_are_given_in_base64():
    said = [Message("user", [{"type": "text", "text": "What is this?"}, IMAGE])]

    assert prompt_content([], said) == [
        {"type": "text", "text": "What is this?"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
        },
    ]


def test_what_was_said_before_is_told_as_text_in_front():
    earlier = [text_message("user", "My name is Ada."), text_message("assistant", "Hello, Ada.")]

    content = prompt_content(earlier, [text_message("user", "Who am I?")])

    told, asked = content
    assert "My name is Ada." in told["text"]
    assert "Hello, Ada." in told["text"]
    assert asked == {"type": "text", "text": "Who am I?"}


def test_an_input_with_a_history_of_its_own_tells_it_too():
    said = [
        text_message("system", "Be brief."),
        text_message("user", "one"),
        text_message("assistant", "two"),
        text_message("user", "three"),
        text_message("user", "four"),
    ]

    told, *asked = prompt_content([], said)

    assert "one" in told["text"]
    assert "two" in told["text"]
    assert "Be brief." not in told["text"]
    assert [block["text"] for block in asked] == ["three", "four"]
    assert instructions(said) == "Be brief."


@pytest.mark.parametrize(
    "said",
    [
        [],
        [text_message("system", "Be brief.")],
        [text_message("user", "one"), text_message("assistant", "two")],
        [Message("user", [])],
    ],
)
def test_an_input_in_which_nobody_asks_is_refused(said):
    with pytest.raises(InvalidArgument, match="of the role user"):
        prompt_content([], said)


def test_a_block_that_a_user_cannot_say_is_refused():
    block = {"type": "tool_call", "tool_call_id": "t", "tool_name": "n", "tool_input": {}}

    with pytest.raises(InvalidArgument, match="tool_call"):
        prompt_content([], [Message("user", [block])])


def test_a_user_message_carries_the_id_by_which_it_is_followed():
    line = user_message("Hello", "uuid-1")

    assert line["uuid"] == "uuid-1"
    assert line["message"] == {"role": "user", "content": "Hello"}
