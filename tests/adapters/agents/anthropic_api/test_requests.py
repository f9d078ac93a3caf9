from __future__ import annotations

import re

from moorage.adapters.agents.anthropic_api.requests import (
    message_params,
    system_text,
    tool_params,
)
from moorage.runtime.messages import (
    Message,
    text_block,
    text_message,
    tool_call_block,
    tool_result_block,
)

USER = text_message("user", "What is 1 + 2?")
THOUGHT = {"type": "thinking", "text": "hm"}
CALL = tool_call_block("t1", "add", {"a": 1, "b": 2})
ORIGINAL = {
    "provider": "anthropic",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "sig="},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}},
    ],
}


def test_what_the_provider_said_goes_back_as_it_came_but_for_empty_texts() -> None:
    said = Message("assistant", [THOUGHT, CALL], original=ORIGINAL)

    params = message_params([USER, said])

    assert params[1] == {
        "role": "assistant",
        "content": [ORIGINAL["content"][0], ORIGINAL["content"][2]],  # type: ignore[index]
    }


def test_what_another_provider_said_goes_without_its_thinking() -> None:
    said = Message(
        "assistant",
        [THOUGHT, text_block("I add"), CALL],
        original={"provider": "other", "content": [{"anything": 1}]},
    )

    assert message_params([USER, said])[1]["content"] == [
        {"type": "text", "text": "I add"},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}},
    ]


def test_results_and_the_next_message_of_the_user_are_one_message() -> None:
    tool = Message(
        "tool",
        [
            tool_result_block("t1", "add", {"sum": 3}),
            tool_result_block("t2", "add", "it failed", is_error=True),
        ],
    )

    params = message_params([USER, Message("assistant", [CALL]), tool, text_message("user", "?")])

    assert [param["role"] for param in params] == ["user", "assistant", "user"]
    assert params[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": '{"sum": 3}'},
        {"type": "tool_result", "tool_use_id": "t2", "content": "it failed", "is_error": True},
        {"type": "text", "text": "?"},
    ]


def test_images_go_as_base64() -> None:
    image = {"type": "image", "media_type": "image/png", "data": b"\x89PNG"}

    assert message_params([Message("user", [image])])[0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
        }
    ]


def test_malformed_arguments_go_as_an_object() -> None:
    said = Message("assistant", [tool_call_block("t1", "add", '{"a": ')])

    content = message_params([USER, said])[1]["content"]

    assert content[0]["input"] == {"malformed_arguments": '{"a": '}


def test_the_breakpoint_of_the_cache_is_on_the_last_block_and_nowhere_else() -> None:
    said = Message("assistant", [CALL], original=ORIGINAL)
    tool = Message("tool", [tool_result_block("t1", "add", "3")])

    params = message_params([USER, said, tool], prompt_caching=True)

    assert params[-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert str(params).count("cache_control") == 1
    assert "cache_control" not in str(ORIGINAL)


def test_system_messages_stand_behind_the_system_prompt() -> None:
    messages = [text_message("system", "Be kind."), USER]

    assert system_text(messages, "Be brief.") == "Be brief.\n\nBe kind."
    assert system_text([USER], None) is None
    assert [param["role"] for param in message_params(messages)] == ["user"]


def test_messages_that_say_nothing_are_left_out() -> None:
    assert message_params([text_message("user", ""), Message("assistant", [])]) == []


def test_tools_go_with_name_description_and_schema() -> None:
    tool = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}, "more": 1}

    assert tool_params([tool]) == [
        {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
    ]


def test_a_conversation_whose_beginning_was_cut_off_begins_with_the_user_all_the_same() -> None:
    params = message_params([text_message("assistant", "as I said"), USER])

    assert [param["role"] for param in params] == ["user", "assistant", "user"]
    assert "left out" in params[0]["content"][0]["text"]


def test_blank_texts_are_left_out_since_the_api_refuses_them() -> None:
    original = {
        "provider": "anthropic",
        "content": [{"type": "text", "text": "\n\n"}, *ORIGINAL["content"][2:]],
    }
    blank = [text_block(" \n")]

    params = message_params(
        [
            USER,
            Message("assistant", [*blank, CALL], original=original),
            Message("tool", [tool_result_block("t1", "add", 3)]),
            Message("assistant", blank),
            Message("user", [*blank, text_block("And?")]),
        ]
    )

    assert [[block["type"] for block in param["content"]] for param in params] == [
        ["text"],
        ["tool_use"],
        ["tool_result", "text"],
    ]


def test_thinking_that_was_cut_off_before_its_signature_is_left_out() -> None:
    content = [
        {"type": "thinking", "thinking": "I was about to", "signature": ""},
        {"type": "thinking", "thinking": "I was about to"},
        {"type": "thinking", "thinking": "", "signature": "sig="},
    ]
    said = Message("assistant", [THOUGHT], original={"provider": "anthropic", "content": content})

    assert message_params([USER, said])[1]["content"] == content[2:]


def test_a_failure_that_says_nothing_is_given_words() -> None:
    results = [
        tool_result_block("t1", "add", "", is_error=True),
        tool_result_block("t2", "add", ""),
    ]
    said = Message("assistant", [CALL, tool_call_block("t2", "add", {})])

    failed, empty = message_params([USER, said, Message("tool", results)])[2]["content"]

    assert failed["content"].strip()
    assert empty["content"] == ""


def test_calls_of_others_get_ids_and_names_that_the_api_takes_and_results_follow() -> None:
    calls = [
        tool_call_block("call_1|fc_" + "x" * 80, "Read file.txt", {}),
        tool_call_block("call_0", "add", {}),
    ]
    results = [tool_result_block(call["tool_call_id"], call["tool_name"], "ok") for call in calls]
    turn = [Message("assistant", calls), Message("tool", results)]

    params = message_params([USER, *turn, USER, *turn])

    sent = [block for param in params for block in param["content"] if block["type"] == "tool_use"]
    told = [block.get("tool_use_id") for param in params for block in param["content"]]
    ids = [block["id"] for block in sent]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", id) for id in ids)
    assert len(set(ids)) == 4
    assert [id for id in told if id] == ids
    assert [block["name"] for block in sent] == ["Read_file_txt", "add"] * 2


def test_an_image_that_an_assistant_showed_is_left_out() -> None:
    image = {"type": "image", "media_type": "image/png", "data": b"x"}

    assert message_params([USER, Message("assistant", [image, text_block("a plot")])])[1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "a plot"}],
    }
