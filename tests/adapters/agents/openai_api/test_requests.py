from __future__ import annotations

import json
import re
from typing import Any

import attrs
from moorage.adapters.agents.openai_api.requests import (
    chat_messages,
    chat_tools,
    response_input,
    response_tools,
)
from moorage.runtime.messages import (
    Message,
    text_block,
    text_message,
    tool_call_block,
    tool_result_block,
)

USER = text_message("user", "What is 1 + 2?")
CALL = tool_call_block("call_1", "add", {"a": 1, "b": 2})
RESULT = Message("tool", [tool_result_block("call_1", "add", {"sum": 3})])
THOUGHT = {"type": "thinking", "text": "hm"}
IMAGE = Message("user", [text_block("See:"), {"type": "image", "media_type": "i/p", "data": b"x"}])
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
ARGUMENTS = '{"a":1,"b":2}'


def test_a_conversation_is_a_list_of_items() -> None:
    said = Message("assistant", [THOUGHT, text_block("I add"), CALL])

    assert response_input([text_message("system", "Be brief."), USER, said, RESULT]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 2?"},
        {"role": "assistant", "content": "I add"},
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"sum": 3}'},
    ]


def test_what_the_api_said_goes_back_without_what_ties_it_to_a_forgotten_response() -> None:
    content: list[dict[str, Any]] = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": None},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "add", "arguments": "{}"},
    ]
    said = Message("assistant", [], original={"provider": "openai.responses", "content": content})

    assert response_input([said]) == [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
    ]


def test_images_go_as_data_urls() -> None:
    url = "data:i/p;base64,eA=="

    assert response_input([IMAGE])[0]["content"] == [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    assert chat_messages([IMAGE], None)[0]["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": url}},
    ]


def test_a_chat_begins_with_the_system_prompt() -> None:
    said = Message("assistant", [THOUGHT, CALL])

    assert chat_messages([USER, said, RESULT], "Be brief.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 2?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": ARGUMENTS},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"sum": 3}'},
    ]


def test_each_api_gets_back_unchanged_only_what_it_said_itself() -> None:
    original = {
        "provider": "openai.chat",
        "content": [{"role": "assistant", "content": "as it was"}],
    }
    said = Message("assistant", [text_block("our words")], original=original)

    assert chat_messages([said], None) == [{"role": "assistant", "content": "as it was"}]
    assert response_input([said]) == [{"role": "assistant", "content": "our words"}]


def test_messages_that_say_nothing_are_left_out() -> None:
    nothing = [text_message("user", ""), Message("assistant", [THOUGHT])]

    assert response_input(nothing) == []
    assert chat_messages(nothing, None) == []


def test_malformed_arguments_go_back_as_those_of_an_object() -> None:
    given = '{"a": '
    chat = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "add", "arguments": given}}
        ],
    }
    response = {"type": "function_call", "call_id": "c", "name": "add", "arguments": given}
    told = Message("assistant", [tool_call_block("c", "add", given)])
    of_chat = attrs.evolve(told, original={"provider": "openai.chat", "content": [chat]})
    of_responses = attrs.evolve(
        told, original={"provider": "openai.responses", "content": [response]}
    )

    sent = [
        response_input([told])[0]["arguments"],
        response_input([of_responses])[0]["arguments"],
        chat_messages([told], None)[0]["tool_calls"][0]["function"]["arguments"],
        chat_messages([of_chat], None)[0]["tool_calls"][0]["function"]["arguments"],
    ]

    assert [json.loads(one) for one in sent] == [{"malformed_arguments": given}] * 4
    assert chat["tool_calls"][0]["function"]["arguments"] == given  # type: ignore[index]


def test_calls_of_others_get_ids_and_names_that_are_taken_and_results_follow() -> None:
    id = "call_1|fc_" + "x" * 80
    turn = [
        Message("assistant", [tool_call_block(id, "Read file.txt", {})]),
        Message("tool", [tool_result_block(id, "Read file.txt", "ok")]),
    ]

    call, output = response_input(turn)
    asked, answered = chat_messages(turn, None)

    assert call["call_id"] == output["call_id"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", call["call_id"])
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,40}", answered["tool_call_id"])
    assert call["name"] == asked["tool_calls"][0]["function"]["name"] == "Read_file_txt"


def test_an_api_gets_back_its_own_ids_whatever_they_look_like() -> None:
    id = "functions.add:0"
    chat = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "add", "arguments": "{}"}}
        ],
    }
    response = {"type": "function_call", "call_id": id, "name": "add", "arguments": "{}"}
    for provider, said, sent in (
        ("openai.chat", chat, lambda turn: chat_messages(turn, None)[1]["tool_call_id"]),
        ("openai.responses", response, lambda turn: response_input(turn)[1]["call_id"]),
    ):
        original = {"provider": provider, "content": [said]}
        turn = [
            Message("assistant", [tool_call_block(id, "add", {})], original=original),
            Message("tool", [tool_result_block(id, "add", 3)]),
        ]

        assert sent(turn) == id


def test_reasoning_that_led_to_nothing_and_what_the_server_did_are_left_out() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abc"}
    content: list[dict[str, Any]] = [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "abc"},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": []},
        {"type": "message", "id": "msg_2", "role": "assistant", "content": "Found it."},
        reasoning,
    ]
    said = Message("assistant", [], original={"provider": "openai.responses", "content": content})

    assert response_input([said]) == [
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "abc"},
        {"type": "message", "role": "assistant", "content": "Found it."},
    ]


def test_tools_are_functions() -> None:
    function = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}

    assert response_tools([TOOL]) == [{"type": "function", "strict": False, **function}]
    assert chat_tools([TOOL]) == [{"type": "function", "function": function}]
