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

# When a stream ends early or with [DONE], the SDK leaves its generators to the garbage collector,
# of which trio warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
NO_USAGE = {"include_usage": False}
FULL = [
    Thinking("Hmm, well"),
    Text("I look"),
    ToolUse("ls", {"path": "."}, id="t1", pieces=3),
    ToolUse("date", raw_arguments="{"),
    Usage(input_tokens=7, output_tokens=9, cache_read_tokens=3, reasoning_tokens=4),
]


def client(twin):
    url = f"{twin.url}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, timeout=60)


def check_usage(usage):
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 9, 19)
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert usage.completion_tokens_details.reasoning_tokens == 4


async def test_the_sdk_reads_every_part_of_a_whole_reply():
    async with ModelTwin([FULL]).serving() as twin, client(twin) as sdk:
        completion = await sdk.chat.completions.create(**HI)

    (choice,) = completion.choices
    assert (choice.message.content, choice.finish_reason) == ("I look", "tool_calls")
    assert choice.message.reasoning_content == "Hmm, well"
    first, second = choice.message.tool_calls
    assert (first.id, first.function.name) == ("t1", "ls")
    assert first.function.arguments == '{"path": "."}'
    assert (second.function.name, second.function.arguments) == ("date", "{")
    check_usage(completion.usage)


async def test_the_sdk_reads_every_part_of_a_stream():
    contents, thoughts, calls, usages, reasons = [], [], {}, [], []

    async with ModelTwin([FULL]).serving() as twin, client(twin) as sdk:
        stream = await sdk.chat.completions.create(
            **HI, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            usages += [chunk.usage] if chunk.usage else []
            for choice in chunk.choices:
                delta = choice.delta
                contents += [delta.content] if delta.content else []
                thoughts += getattr(delta, "reasoning_content", None) or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
                for call in delta.tool_calls or []:
                    calls.setdefault(call.index, []).append(call.function.arguments)

    assert contents == ["I ", "look"]
    assert "".join(thoughts) == "Hmm, well"
    assert {index: "".join(found) for index, found in calls.items()} == {0: '{"path": "."}', 1: "{"}
    assert reasons == ["tool_calls"]
    (usage,) = usages
    check_usage(usage)


async def test_usage_is_streamed_only_when_asked_for(ask):
    bodies = [{**HI, "stream": True}, {**HI, "stream": True, "stream_options": NO_USAGE}]

    async with ModelTwin(["a", "b"]).serving() as twin:
        answers = [await ask(twin, "/v1/chat/completions", body) for body in bodies]

    for answer in answers:
        assert all("usage" not in event for event in answer.events)
        assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("reason", "told"),
    [("max_tokens", "length"), ("refusal", "content_filter"), ("stop_sequence", "stop")],
)
async def test_reasons_to_stop_are_told_in_openais_words(reason, told):
    async with ModelTwin([["a", Stop(reason)]]).serving() as twin, client(twin) as sdk:
        completion = await sdk.chat.completions.create(**HI)

    assert completion.choices[0].finish_reason == told


async def test_an_error_behind_a_text_is_an_event_of_the_stream():
    script = [["Hello", HttpError(500, "gone")]]
    got = []

    async with ModelTwin(script).serving() as twin, client(twin) as sdk:
        with pytest.raises(openai.APIError, match="gone"):
            async for chunk in await sdk.chat.completions.create(**HI, stream=True):
                got.append(chunk.choices[0].delta.content)

    assert got == ["", "Hello"]
