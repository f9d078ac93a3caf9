"""What the agents of model APIs promise, through each API, as a ModelTwin is asked it."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
import trio
from moorage.adapters.agents.anthropic_api import AnthropicAgent
from moorage.adapters.agents.context_window import ContextWindow
from moorage.adapters.agents.model_twin import (
    Cut,
    HttpError,
    ModelTwin,
    Stall,
    Stop,
    Text,
    ToolUse,
    Usage,
)
from moorage.adapters.agents.model_twin.http_connection import HttpConnection
from moorage.adapters.agents.openai_api import OpenAIAgent
from moorage.adapters.agents.provider.hooks import ChangeInput, Deny, Hooks, ReplaceResult
from moorage.adapters.agents.tools import ToolLimits, tool
from moorage.runtime import RunState, open_supervisor
from moorage.stores import MemoryStore

PATIENCE_SECONDS = 120
APIS = ("anthropic", "responses", "chat")


def agent_of(api, twin, **options):
    if api == "anthropic":
        return AnthropicAgent(**{"model": "twin", "base_url": twin.url, "api_key": "any"} | options)
    url = f"{twin.url}/v1"
    return OpenAIAgent(**{"model": "twin", "api": api, "base_url": url, "api_key": "any"} | options)


@pytest.fixture(params=APIS)
def talking(request):
    """``async with talking(script, **options) as (session, twin)``"""

    @contextlib.asynccontextmanager
    async def start(script, **options):
        with trio.fail_after(PATIENCE_SECONDS):
            async with ModelTwin(script).serving() as twin:
                agent = agent_of(request.param, twin, **{"retries_max": 0} | options)
                async with open_supervisor(MemoryStore(), agent) as supervisor:
                    yield await supervisor.session("talk"), twin

    start.api = request.param
    return start


async def happened(session, *types):
    """Wait until there is an event of the types, and return it."""
    async with session.subscribe(types=set(types)) as events:
        async for event in events:
            return event
    raise AssertionError(f"the session closed without any of {types}")


def results_of(request):
    return [(one.is_error, one.text) for one in request.tool_results]


# ---- streaming, usage and cost ----


async def test_a_fast_model_is_recorded_in_few_pieces_with_what_it_costs(talking):
    words = "word " * 2_000
    usage = Usage(
        input_tokens=1_000, output_tokens=2_000, cache_read_tokens=4_000, reasoning_tokens=50
    )
    prices = {"twin": {"input": 3.0, "output": 15.0, "cache_read": 0.3}}
    async with talking([[Text(words), usage]], prices=prices) as (session, _):
        outcome = await session.execute("Go on")
        events = await session.events(limit=1_000)

    pieces = [event.data["delta"] for event in events if event.type == "message_streamed"]
    (used,) = [event.data for event in events if event.type == "token_usage_updated"]
    cost = (1_000 * 3 + 4_000 * 0.3 + 2_000 * 15) / 1_000_000
    assert outcome.output["content"] == words == "".join(pieces)
    assert 1 <= len(pieces) < 200
    assert (used["input_tokens"], used["output_tokens"]) == (1_000, 2_000)
    assert used["cache_read_tokens"] == 4_000
    assert used["cost_usd"] == pytest.approx(cost)
    assert outcome.usage["cost_usd"] == pytest.approx(cost)


# ---- tools ----


async def test_calls_of_one_answer_run_side_by_side_and_all_results_go_back(talking):
    both = {"a": trio.Event(), "b": trio.Event()}

    @tool
    async def meet(who: str, other: str) -> str:
        both[who].set()
        await both[other].wait()
        return f"{who} met {other}"

    calls = [
        ToolUse("meet", {"who": "a", "other": "b"}, id="call_a"),
        ToolUse("meet", {"who": "b", "other": "a"}, id="call_b"),
    ]
    async with talking([calls, Text("They met")], tools=[meet]) as (session, twin):
        outcome = await session.execute("Meet")

    assert outcome.output["content"] == "They met"
    assert results_of(twin.requests[1]) == [(False, "a met b"), (False, "b met a")]


async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(talking):
    @tool
    async def explode(how: str) -> str:
        raise RuntimeError(f"boom {how}")

    @tool(timeout_seconds=0.05)
    async def hang(how: str) -> str:
        await trio.sleep_forever()

    @tool
    async def flood(how: str) -> str:
        return "x" * 10_000_000

    calls = [
        ToolUse("explode", {"how": "loudly"}),
        ToolUse("hang", {"how": "long"}),
        ToolUse("flood", {"how": "much"}),
        ToolUse("explode", raw_arguments='{"how": '),
        ToolUse("explode", {"why": 7}),
        ToolUse("unknown", {}),
    ]
    limits = ToolLimits(result_bytes_max=10_000)
    tools = [explode, hang, flood]
    async with talking([calls, Text("Sorry")], tools=tools, tool_limits=limits) as (session, twin):
        outcome = await session.execute("Go")
        failed = await session.events(types={"tool_call_failed"})
        largest = max(len(str(event.data)) for event in await session.events(limit=1_000))

    assert outcome.output["content"] == "Sorry"
    told = [text for _, text in results_of(twin.requests[1])]
    assert "boom loudly" in told[0]
    assert "stopped after 0.05 seconds" in told[1]
    assert "the result has 10000000 bytes" in told[2]
    assert len(told[2]) < 11_000
    assert "no JSON object" in told[3]
    assert "how" in told[4]
    assert "there is no tool 'unknown'" in told[5]
    assert sorted(event.data["error"]["code"] for event in failed) == [
        "tool_arguments_invalid",
        "tool_arguments_invalid",
        "tool_raised",
        "tool_timeout",
        "tool_unknown",
    ]
    assert largest < 12_000


async def test_a_model_that_calls_for_ever_is_stopped(talking):
    @tool
    async def again(n: int) -> int:
        return n

    def script(request):
        return ToolUse("again", {"n": request.number})

    async with talking(script, tools=[again], turns_max=3) as (session, twin):
        outcome = await session.execute("Go")
        after = await session.execute({"prompt": "Go on", "options": {"turns_max": 1}})

    assert (outcome.error.code, after.error.code) == ("turns_exceeded", "turns_exceeded")
    assert len(twin.requests) == 4


async def test_a_call_that_the_limit_of_tokens_cut_off_is_answered_and_not_executed(talking):
    wiped = []

    @tool
    async def wipe(path: str = "/") -> None:
        wiped.append(path)

    cut = [ToolUse("wipe", raw_arguments=""), Stop("max_tokens")]
    async with talking([cut, Text("Shorter then")], tools=[wipe]) as (session, twin):
        outcome = await session.execute("Clean up")

    assert outcome.output["content"] == "Shorter then"
    assert wiped == []
    ((_, text),) = results_of(twin.requests[1])
    assert "cut off" in text


async def test_hooks_deny_calls_and_change_what_tools_get_and_give(talking):
    @tool
    async def echo(text: str) -> str:
        return text

    async def before(call):
        if call.tool_input["text"] == "bad":
            return Deny("not that one")
        return ChangeInput({"text": call.tool_input["text"].upper()})

    async def after(call, result):
        return ReplaceResult(result.output + "!")

    async def broken(call):
        raise RuntimeError("no result")

    hooks = Hooks(before_tool=[broken, before], after_tool=[after])
    calls = [ToolUse("echo", {"text": "good"}), ToolUse("echo", {"text": "bad"})]
    async with talking([calls, Text("ok")], tools=[echo], hooks=hooks) as (session, twin):
        (await session.execute("Go")).unwrap()
        told = await session.events(types={"error_occurred"})

    results = [text for _, text in results_of(twin.requests[1])]
    assert results == ["GOOD!", "denied: not that one"]
    assert [event.data["code"] for event in told] == ["hook_failed"] * 2


# ---- continuing ----


@pytest.mark.parametrize("continuation", ["none", "replay"])
async def test_a_conversation_is_replayed_or_not_as_one_wants(talking, continuation):
    async with talking(["one", "two"], continuation=continuation) as (session, twin):
        await session.execute("first")
        await session.execute("second")
        last = twin.requests[1]

    earlier = [] if continuation == "none" else [("user", "first"), ("assistant", "one")]
    assert last.texts == [*earlier, ("user", "second")]
    assert last.previous_response_id is None


async def test_what_is_not_kept_by_the_provider_cannot_be_continued_natively(talking):
    async with talking(lambda request: "ok", continuation="native") as (session, _):
        first = await session.execute("first")
        second = await session.execute("second")

    codes = [one.error and one.error.code for one in (first, second)]
    # the Responses API has nothing before the first run, and from then on its own answer
    expected = {"responses": [None, None]}.get(talking.api, ["invalid_argument"] * 2)
    assert codes == expected


async def test_a_long_conversation_is_compacted_and_an_overflow_retried_once(talking):
    refused = []

    def script(request):
        if request.prompt.startswith("Sum up"):
            return "The cat is called Miso." if "Miso" in request.text else "No cat."
        if request.prompt == "Overflow" and not refused:
            refused.append(request.number)
            return HttpError(400, kind="context_overflow")
        if request.prompt == "The cat?":
            return "Miso" if "Miso" in request.text else "unknown"
        return "word " * 40

    window = ContextWindow(tokens_max=800, keep_recent_tokens=200)
    options = {"context_window": window, "continuation": "replay"}
    async with talking(script, **options) as (session, twin):
        await session.execute("My cat is called Miso")
        for number in range(12):
            (await session.execute(f"turn {number} " + "please " * 20)).unwrap()
        (await session.execute("Overflow")).unwrap()
        answer = (await session.execute("The cat?")).unwrap()
        said = await session.messages()
        events = await session.events(types={"context_compacted", "error_recovered"})

    asked = [request for request in twin.requests if not request.prompt.startswith("Sum up")]
    assert answer["content"] == "Miso"
    assert max(len(request.text) / 4 for request in asked) <= 800
    assert len([message for message in said if message.role == "user"]) == 15
    assert "My cat is called Miso" in said[0].text  # the log keeps what the context leaves out
    kinds = [event.type for event in events]
    assert kinds.count("context_compacted") >= 2
    assert kinds.count("error_recovered") == len(refused) == 1


async def test_a_conversation_that_another_agent_held_is_continued_with_every_call_paired(talking):
    long_id = "call_1|fc_" + "x" * 80
    again = {
        "type": "tool_call",
        "tool_call_id": "call_0",
        "tool_name": "Read file",
        "tool_input": {},
    }
    result = {"type": "tool_result", "tool_call_id": "call_0", "tool_name": "Read file"}
    said = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [{"type": "text", "text": "\n"}, again]},
        {"role": "tool", "content": [result | {"tool_output": "one"}]},
        {"role": "assistant", "content": [again, again | {"tool_call_id": long_id}]},
        {"role": "tool", "content": [result | {"tool_output": "", "is_error": True}]},
    ]
    async with talking(["Seen."]) as (session, twin):
        await session.add_messages(said)
        outcome = await session.execute("And?")
        request = twin.requests[0]

    calls = [(call.id, call.name) for call in request.tool_calls]
    assert outcome.output["content"] == "Seen."
    assert [id for id, _ in calls] == [one.id for one in request.tool_results]
    assert len({id for id, _ in calls}) == 3
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,40}", id) for id, _ in calls)
    assert {name for _, name in calls} == {"Read_file"}
    assert "interrupted" in request.tool_results[2].text


# ---- people ----


async def test_a_steer_is_in_the_next_request_and_skipped_calls_have_results(talking, monkeypatch):
    launched, steered = [], trio.Event()

    async def pause(connection, seconds):
        await steered.wait()
        return False  # it goes on

    monkeypatch.setattr(HttpConnection, "pause", pause)

    @tool
    async def launch(what: str) -> None:
        launched.append(what)

    script = [
        [Text("I launch."), Stall(), ToolUse("launch", {"what": "rocket"})],
        Text("As you like."),
    ]
    options = {"tools": [launch], "coalesce_seconds": 0}
    async with talking(script, **options) as (session, twin):
        run = await session.submit("Launch")
        await happened(session, "message_streamed")
        outcome = await run.steer("Stop!")
        steered.set()
        (await run.wait()).unwrap()

    assert outcome.steered
    assert launched == []
    assert twin.requests[1].texts[-1] == ("user", "Stop!")
    ((_, text),) = results_of(twin.requests[1])
    assert "skipped" in text


async def test_an_approval_that_nobody_gives_in_time_is_the_default_and_later_ones_count_nothing(
    talking,
):
    launched = []

    @tool(needs_approval=True)
    async def launch(what: str) -> str:
        launched.append(what)
        return "it is up"

    script = [ToolUse("launch", {"what": "rocket"}, id="call_1"), Text("Not then.")]
    options = {"tools": [launch], "approval_timeout_seconds": 0.1}
    async with talking(script, **options) as (session, twin):
        run = await session.submit("Launch")
        asked = await happened(session, "tool_approval_requested")
        (await run.wait()).unwrap()
        late = await session.approve(asked.data["request_id"])
        (denied,) = await session.events(types={"tool_approval_denied"})

    assert (late, launched) == (False, [])
    assert asked.data["expires_at_ns"]
    assert denied.data["by"] == "timeout"
    ((_, text),) = results_of(twin.requests[1])
    assert "nobody answered" in text


@pytest.mark.parametrize("during", ["stream", "tool", "approval"])
async def test_a_cancelled_run_leaves_a_conversation_that_goes_on(talking, during):
    @tool
    async def hang() -> None:
        await trio.sleep_forever()

    @tool(needs_approval=True)
    async def launch() -> None: ...

    first = {
        "stream": [Text("Well,"), Stall()],
        "tool": [Text("I wait."), ToolUse("hang")],
        "approval": [Text("May I?"), ToolUse("launch")],
    }[during]
    waits_for = {
        "stream": "message_streamed",
        "tool": "tool_call_started",
        "approval": "run_waiting",
    }[during]
    options = {"tools": [hang, launch], "coalesce_seconds": 0}
    async with talking([first, Text("Fine.")], **options) as (session, twin):
        run = await session.submit("Begin")
        await happened(session, waits_for)
        await run.cancel()
        cancelled = await run.wait()
        outcome = await session.execute("And now?")
        last = twin.requests[-1]

    assert cancelled.state is RunState.CANCELLED
    assert outcome.output["content"] == "Fine."
    assert last.texts[0] == ("user", "Begin")
    assert last.texts[-1] == ("user", "And now?")
    assert len(last.tool_results) == len(last.tool_calls) == (during != "stream")
    assert {call.id for call in last.tool_calls} == {one.id for one in last.tool_results}


# ---- faults ----


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (HttpError(401), "provider_authentication"),
        (HttpError(429, retry_after=7), "provider_rate_limited"),
        (HttpError(500), "provider_unavailable"),
        (HttpError(529), "provider_overloaded"),
        ([Text("So far"), Cut()], "connection_lost"),
    ],
)
async def test_a_session_goes_on_behind_a_run_that_its_provider_failed(talking, said, code):
    async with talking([said, Text("Back again")]) as (session, twin):
        failed = await session.execute("Hello")
        (told,) = await session.events(types={"error_occurred"})
        outcome = await session.execute("And now?")
        usages = await session.events(types={"token_usage_updated"})

    assert (failed.error.code, told.data["code"]) == (code, code)
    assert failed.error.details.get("retry_after_seconds") == (7 if "rate" in code else None)
    assert outcome.output["content"] == "Back again"
    asked = [text for role, text in twin.requests[1].texts if role == "user"]
    assert asked == ["Hello", "And now?"]
    assert len(usages) == 1


async def test_a_request_that_is_asked_again_is_counted_once(talking):
    script = [HttpError(500), [Text("Here"), Usage(input_tokens=10, output_tokens=1)]]
    async with talking(script, retries_max=1) as (session, twin):
        outcome = await session.execute("Hello")
        usages = await session.events(types={"token_usage_updated"})

    assert outcome.output["content"] == "Here"
    assert len(twin.requests) == 2
    assert [event.data["input_tokens"] for event in usages] == [10]


async def test_the_key_is_in_no_event(talking):
    secret = "sk-very-secret"
    said = HttpError(401, f"there is no key {secret}")
    async with talking([said], api_key=secret, environment={"X": secret}) as (
        session,
        twin,
    ):
        outcome = await session.execute("Hello")
        events = await session.events(limit=1_000)
        info = await session.info()

    assert secret in json.dumps(dict(twin.requests[0].headers))
    assert secret not in str(events)
    assert secret not in str(info)
    assert secret not in str(outcome)


async def test_a_call_that_is_too_large_for_the_log_fails_its_run_alone(talking):
    script = [ToolUse("write", {"content": "x" * 6_000_000}), Text("Smaller then")]

    @tool
    async def write(content: str) -> None: ...

    async with talking(script, tools=[write]) as (session, _):
        failed = await session.execute("Write")
        outcome = await session.execute("Again")

    assert failed.error.code == "record_too_large"
    assert outcome.output["content"] == "Smaller then"
