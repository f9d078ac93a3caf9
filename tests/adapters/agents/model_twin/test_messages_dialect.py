from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.model_twin import (
    HttpError,
    ModelTwin,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Usage,
)

anthropic = pytest.importorskip("anthropic")

# When a stream ends early or with [DONE], the SDK leaves its generators to the garbage collector,
# of which trio warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HI = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
FULL = [
    Thinking("Hmm, well", signature="sig"),
    Text("I look"),
    ToolUse("ls", {"path": "."}, id="t1", pieces=3),
    ToolUse("date"),
    Usage(input_tokens=7, output_tokens=9, cache_read_tokens=3, cache_write_tokens=2),
]


def client(twin):
    return anthropic.AsyncAnthropic(base_url=twin.url, api_key="k", max_retries=0, timeout=60)


@pytest.fixture
async def twin_of():
    async with trio.open_nursery() as nursery:

        async def serve(script, task_status=trio.TASK_STATUS_IGNORED):
            async with ModelTwin(script).serving() as twin:
                task_status.started(twin)
                await trio.sleep_forever()

        async def start(*script):
            return await nursery.start(serve, script)

        yield start
        nursery.cancel_scope.cancel()


def check_full(message):
    thinking, text, first, second = message.content
    assert (thinking.thinking, thinking.signature) == ("Hmm, well", "sig")
    assert text.text == "I look"
    assert (first.id, first.name, first.input) == ("t1", "ls", {"path": "."})
    assert (second.name, second.input) == ("date", {})
    assert (message.model, message.stop_reason) == ("m", "tool_use")
    usage = message.usage
    assert (usage.input_tokens, usage.output_tokens) == (7, 9)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (3, 2)


async def test_the_sdk_reads_every_part_of_a_whole_reply(twin_of):
    twin = await twin_of(FULL)

    async with client(twin) as sdk:
        message = await sdk.messages.create(**HI)

    check_full(message)


async def test_the_sdk_reads_every_part_of_a_stream(twin_of):
    twin = await twin_of(FULL)

    async with client(twin) as sdk, sdk.messages.stream(**HI) as stream:
        deltas = [event.text async for event in stream if event.type == "text"]
        message = await stream.get_final_message()

    assert deltas == ["I ", "look"]
    check_full(message)


async def test_ids_are_unique_within_a_twin_and_between_twins(twin_of):
    twins = [await twin_of([ToolUse("a"), ToolUse("a")], "b"), await twin_of("c", "d")]
    ids = []

    for twin in twins:
        async with client(twin) as sdk:
            for _ in range(2):
                message = await sdk.messages.create(**HI)
                ids += [message.id, *(b.id for b in message.content if b.type == "tool_use")]

    assert len(set(ids)) == len(ids) == 6


async def test_arguments_that_are_no_json_arrive_as_they_are(twin_of, ask):
    twin = await twin_of(ToolUse("ls", raw_arguments='{"path": "unclosed', pieces=2))

    answer = await ask(twin, "/v1/messages", {**HI, "stream": True})

    deltas = [e["delta"] for e in answer.events if e["type"] == "content_block_delta"]
    assert "".join(delta["partial_json"] for delta in deltas) == '{"path": "unclosed'
    assert len(deltas) == 2


async def test_the_reason_to_stop_can_be_another(twin_of):
    twin = await twin_of(["cut o", Stop("max_tokens")])

    async with client(twin) as sdk:
        message = await sdk.messages.create(**HI)

    assert message.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("error", "class_name", "kind"),
    [
        (HttpError(400), "BadRequestError", "invalid_request_error"),
        (HttpError(401), "AuthenticationError", "authentication_error"),
        (HttpError(429), "RateLimitError", "rate_limit_error"),
        (HttpError(500), "InternalServerError", "api_error"),
        (HttpError(503), "InternalServerError", "api_error"),
        (HttpError(529), "InternalServerError", "overloaded_error"),
        (HttpError(400, kind="odd_error"), "BadRequestError", "odd_error"),
    ],
)
async def test_the_sdk_raises_its_own_error_for_each_status(twin_of, error, class_name, kind):
    twin = await twin_of(error)

    async with client(twin) as sdk:
        with pytest.raises(getattr(anthropic, class_name)) as caught:
            await sdk.messages.create(**HI)

    assert caught.value.status_code == error.status
    assert caught.value.body["error"]["type"] == kind


async def test_a_prompt_that_is_too_long_is_said_in_the_providers_words(twin_of):
    twin = await twin_of(HttpError(400, kind="context_overflow"))

    async with client(twin) as sdk:
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long") as caught:
            await sdk.messages.create(**HI)

    assert caught.value.body["error"]["type"] == "invalid_request_error"


async def test_an_error_behind_a_text_is_an_event_of_the_stream(twin_of):
    twin = await twin_of(["Hel", HttpError(529, "busy")])
    got = []

    async with client(twin) as sdk:
        with pytest.raises(anthropic.APIStatusError, match="busy"):
            async with sdk.messages.stream(**HI) as stream:
                got += [text async for text in stream.text_stream]

    assert got == []


async def test_what_the_script_does_not_say_of_usage_is_estimated(twin_of):
    twin = await twin_of(Text("x" * 400))

    async with client(twin) as sdk:
        message = await sdk.messages.create(**HI)

    assert message.usage.output_tokens == 100
    assert message.usage.input_tokens == len(twin.requests[0].body_bytes) // 4
