from __future__ import annotations

import json

from moorage.adapters.agents.model_twin.twin_request import ToolCall, ToolResult, TwinRequest


def request(dialect, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return TwinRequest(
        number=1,
        method="POST",
        path="/v1/x",
        query="",
        headers={},
        body_bytes=data,
        dialect=dialect,
    )


MESSAGES = request(
    "messages",
    {
        "model": "m",
        "stream": True,
        "system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief"}],
        "tools": [{"name": "ls", "input_schema": {}}, {"type": "web_search_20250305"}],
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look"},
                    {"type": "tool_use", "id": "t1", "name": "ls", "input": {"path": "."}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "a b"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "content": [{"type": "text", "text": "no"}],
                        "is_error": True,
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
    },
)
RESPONSES = request(
    "responses",
    {
        "model": "m",
        "instructions": "Be",
        "previous_response_id": "resp_1",
        "tools": [
            {"type": "function", "name": "ls"},
            {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "find"}]},
            {"type": "web_search"},
        ],
        "input": [
            {"type": "message", "role": "developer", "content": "brief"},
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {
                "role": "assistant",
                "type": "message",
                "content": [{"type": "output_text", "text": "I look"}],
            },
            {"type": "function_call", "call_id": "t1", "name": "ls", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "t1", "output": "a b"},
            {"type": "custom_tool_call", "call_id": "t2", "name": "patch", "input": "+"},
            {
                "type": "custom_tool_call_output",
                "call_id": "t2",
                "output": [{"type": "input_text", "text": "no"}],
            },
            {"role": "user", "content": "go on"},
        ],
    },
)
CHAT = request(
    "chat",
    {
        "model": "m",
        "tools": [{"type": "function", "function": {"name": "ls"}}],
        "messages": [
            {"role": "system", "content": "Be"},
            {"role": "developer", "content": [{"type": "text", "text": "brief"}]},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "I look",
                "tool_calls": [{"id": "t1", "function": {"name": "ls", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "a b"},
            {"role": "user", "content": "go on"},
        ],
    },
)


def test_texts_with_their_roles_read_the_same_in_all_dialects():
    expected = [("user", "hi"), ("assistant", "I look"), ("user", "go on")]

    assert [one.texts for one in (MESSAGES, RESPONSES, CHAT)] == [expected] * 3
    assert [one.prompt for one in (MESSAGES, RESPONSES, CHAT)] == ["go on"] * 3
    assert MESSAGES.text == "hi\nI look\ngo on"


def test_the_system_prompt_is_found_wherever_a_dialect_puts_it():
    assert [one.system for one in (MESSAGES, RESPONSES, CHAT)] == ["Be\nbrief"] * 3


def test_results_of_tools_have_the_id_of_their_call():
    assert MESSAGES.tool_results == [ToolResult("t1", "a b"), ToolResult("t2", "no", is_error=True)]
    assert RESPONSES.tool_results == [ToolResult("t1", "a b"), ToolResult("t2", "no")]
    assert CHAT.tool_results == [ToolResult("t1", "a b")]


def test_calls_that_the_client_repeats_are_found():
    assert MESSAGES.tool_calls == [ToolCall("t1", "ls", {"path": "."})]
    assert RESPONSES.tool_calls == [ToolCall("t1", "ls", "{}"), ToolCall("t2", "patch", "+")]
    assert CHAT.tool_calls == [ToolCall("t1", "ls", "{}")]


def test_tools_are_named_also_in_a_namespace_and_without_a_name():
    assert MESSAGES.tools == ["ls", "web_search_20250305"]
    assert RESPONSES.tools == ["ls", "find", "web_search"]
    assert CHAT.tools == ["ls"]
    assert dict(RESPONSES.tool_declarations())["find"]["namespace"] == "mcp"


def test_the_rest_of_the_view_comes_from_the_body():
    assert (MESSAGES.model, MESSAGES.streaming, MESSAGES.previous_response_id) == ("m", True, None)
    assert (RESPONSES.streaming, RESPONSES.previous_response_id) == (False, "resp_1")


def test_an_input_that_is_a_text_is_a_message_of_the_user():
    assert request("responses", {"input": "hi"}).texts == [("user", "hi")]


def test_a_body_that_is_no_map_has_an_empty_view():
    for body in (b"", b"{", b"[1]", b'"text"', b'{"messages": 3, "tools": "x", "system": 4}'):
        odd = request("messages", body)

        assert (odd.model, odd.system, odd.texts, odd.tools) == (None, "", [], [])
        assert (odd.prompt, odd.tool_results, odd.tool_calls) == ("", [], [])
