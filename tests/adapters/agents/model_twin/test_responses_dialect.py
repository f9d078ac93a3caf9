from __future__ import annotations

import pytest
from moorage.adapters.agents.model_twin import (
    HttpError,
    ModelTwin,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Usage,
)

openai = pytest.importorskip("openai")

HI = {"model": "m", "input": "hi"}
FULL = [
    Thinking("Hmm, well"),
    Text("I look"),
    ToolUse("ls", {"path": "."}, id="t1", pieces=3),
    ToolUse("date", raw_arguments="{"),
    Usage(input_tokens=7, output_tokens=9, cache_read_tokens=3, reasoning_tokens=4),
]
CUSTOM = {"type": "custom", "name": "patch"}
NAMESPACE = {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "find"}]}


def client(twin):
    url = f"{twin.url}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, timeout=60)


def check_full(response):
    thinking, message, first, second = response.output
    assert thinking.summary[0].text == "Hmm, well"
    assert message.content[0].text == response.output_text == "I look"
    assert (first.call_id, first.name, first.arguments) == ("t1", "ls", '{"path": "."}')
    assert (second.name, second.arguments) == ("date", "{")
    assert response.status == "completed"
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 9, 19)
    assert usage.input_tokens_details.cached_tokens == 3
    assert usage.output_tokens_details.reasoning_tokens == 4


async def test_the_sdk_reads_every_part_of_a_whole_reply():
    async with ModelTwin([FULL]).serving() as twin, client(twin) as sdk:
        response = await sdk.responses.create(**HI)

    check_full(response)


async def test_the_sdk_reads_every_part_of_a_stream():
    async with (
        ModelTwin([FULL]).serving() as twin,
        client(twin) as sdk,
        sdk.responses.stream(**HI) as stream,
    ):
        events = [event async for event in stream]
        response = await stream.get_final_response()

    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert texts == ["I ", "look"]
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == '{"path": "."}{'
    check_full(response)


async def test_events_are_numbered_without_a_gap(ask):
    async with ModelTwin([FULL]).serving() as twin:
        answer = await ask(twin, "/v1/responses", {**HI, "stream": True})

    numbers = [event["sequence_number"] for event in answer.events]
    assert numbers == list(range(len(numbers)))


async def test_a_continuation_by_handle_is_accepted_and_recorded():
    async with ModelTwin(["one", "two"]).serving() as twin, client(twin) as sdk:
        first = await sdk.responses.create(**HI)
        second = await sdk.responses.create(**HI, previous_response_id=first.id)

    assert second.previous_response_id == first.id != second.id
    assert twin.requests[1].previous_response_id == first.id


async def test_a_tool_of_free_text_is_called_with_text(ask):
    body = {**HI, "tools": [CUSTOM], "stream": True}

    async with ModelTwin([ToolUse("patch", {"input": "+a"}, pieces=2)]).serving() as twin:
        answer = await ask(twin, "/v1/responses", body)

    item = answer.events[-1]["response"]["output"][0]
    assert (item["type"], item["input"]) == ("custom_tool_call", "+a")
    kinds = [event["type"] for event in answer.events]
    assert kinds.count("response.custom_tool_call_input.delta") == 2


async def test_a_tool_in_a_namespace_is_called_in_it(ask):
    async with ModelTwin([ToolUse("find")]).serving() as twin:
        answer = await ask(twin, "/v1/responses", {**HI, "tools": [NAMESPACE]})

    item = answer.json["output"][0]
    assert (item["name"], item["namespace"]) == ("find", "mcp")


@pytest.mark.parametrize(
    ("reason", "told"), [("max_tokens", "max_output_tokens"), ("refusal", "content_filter")]
)
async def test_an_answer_that_was_cut_short_is_incomplete(ask, reason, told):
    async with ModelTwin([["a", Stop(reason)]]).serving() as twin:
        answer = await ask(twin, "/v1/responses", {**HI, "stream": True})

    last = answer.events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": told}


async def test_an_error_behind_a_text_fails_the_response(ask):
    error = HttpError(400, kind="context_overflow")

    async with ModelTwin([["Hel", error], [Usage(), error]]).serving() as twin:
        answers = [await ask(twin, "/v1/responses", {**HI, "stream": True}) for _ in range(2)]

    last, alone = (answer.events[-1] for answer in answers)
    assert last["type"] == alone["type"] == "response.failed"
    assert last["response"]["error"]["code"] == "context_length_exceeded"
    assert last["response"]["usage"] is None
