"""The real Claude Code, asking a ModelTwin."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import attrs
import pytest
import trio
from moorage.adapters.agents import conformance
from moorage.adapters.agents.claude_code.agent import ClaudeAgent
from moorage.adapters.agents.model_twin import (
    Cut,
    HttpError,
    ModelTwin,
    Stall,
    Text,
    Thinking,
    ToolUse,
    Usage,
)
from moorage.adapters.agents.model_twin.client_settings import KEY
from moorage.adapters.agents.provider.hooks import ChangeInput, Deny, Hooks, ReplaceResult
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.tools import ToolContext, tool
from moorage.runtime import open_supervisor
from moorage.runtime.runs import RunState
from moorage.stores import JournalStore, MemoryStore

from tests.adapters.agents.real_agents import require

require("claude_agent_sdk")
conversation = require("moorage.adapters.agents.claude_code.conversation")
pytestmark = pytest.mark.real_agent

SECONDS_MAX = 120.0
"""Nothing here takes more than a few seconds; a machine that is busy may take its time."""
WAIT = "while [ ! -e go ]; do sleep 0.02; done"
"""A command that ends when the test says so."""
QUIET = ("provider_event", "claude_transcript", "conversation_configured", "token_usage_updated")


class Place:
    """Folders of a test's own, and agents in them."""

    def __init__(self, directory):
        self.work, self.configuration = directory / "work", directory / "configuration"
        self.home = directory
        self.work.mkdir()

    def go(self):
        """Let the commands end that WAIT."""
        (self.work / "go").touch()

    def agent(self, twin, **options):
        return ClaudeAgent(**self.options(twin, **options))

    def options(self, twin, **options):
        environment = {
            **twin.environment("claude"),
            "CLAUDE_CONFIG_DIR": str(self.configuration),
            "HOME": str(self.home),
            **options.pop("environment", {}),
        }
        return {
            "environment": environment,
            "model": "claude-sonnet-4-5",
            "working_directory": str(self.work),
            **options,
        }


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@asynccontextmanager
async def answering(script):
    """A twin, with the test's own exceptions bare."""
    async with ModelTwin(script).serving() as twin:
        yield twin


async def run(agent, context, said):
    with trio.fail_after(SECONDS_MAX):
        return await execute(agent, context.request(said), context)


def types_of(context):
    return [event.type for event in context.events if event.type not in QUIET]


def data_of(context, type):
    return [event.data for event in context.events if event.type == type]


def asked(twin, number=-1):
    """All that the twin was asked in one of its requests, as text."""
    return json.dumps(twin.requests[number].body["messages"])


def total(context, name):
    return sum(data.get(name, 0) for data in data_of(context, "token_usage_updated"))


async def test_a_turn_with_a_tool_is_told_in_order(place):
    script = [
        [Thinking("hmm"), Text("I will look. "), ToolUse("Bash", {"command": "echo hi"}, id="t1")],
        Text("It says hi."),
    ]
    context = RecordingContext()

    async with answering(script) as twin:
        ended = await run(place.agent(twin), context, "look")

    assert types_of(context) == [
        "message_sent",
        "message_streamed",
        "message_streamed",
        "message_received",
        "tool_call_started",
        "tool_call_completed",
        "message_streamed",
        "message_received",
        "turn_completed",
    ]
    assert ended.output["content"] == "It says hi."
    assert ended.output["turns"] == 2
    assert data_of(context, "message_streamed")[0] == {"delta": "", "thinking": "hmm"}
    assert data_of(context, "tool_call_completed")[0]["tool_output"] == "hi"


async def test_usage_and_cost_add_up_over_runs_of_one_session(place):
    usage = Usage(input_tokens=1000, output_tokens=100)
    costs = []

    async with (
        answering([[Text("one"), usage], [Text("two"), usage]]) as twin,
        open_supervisor(MemoryStore(), place.agent(twin)) as supervisor,
    ):
        session = await supervisor.session("s")
        for said in ("one", "two"):
            run_ = await session.submit(said)
            await run_.wait(timeout_seconds=SECONDS_MAX)
            events = await session.events(run_id=run_.id, types={"token_usage_updated"})
            assert sum(event.data.get("input_tokens", 0) for event in events) == 1000
            assert sum(event.data.get("output_tokens", 0) for event in events) == 100
            costs.append(sum(event.data.get("cost_usd", 0) for event in events))

    assert costs[0] > 0
    assert costs[0] == pytest.approx(costs[1])


async def test_the_second_turn_sends_only_what_is_new_from_an_empty_folder(place, tmp_path):
    store = JournalStore(tmp_path / "data")

    async with answering([Text("Hello Ada."), Text("You are Ada.")]) as twin:
        async with open_supervisor(store, place.agent(twin)) as supervisor:
            session = await supervisor.session("s")
            first = await session.execute("I am Ada.")
        shutil.rmtree(place.configuration)  # another machine, with the log and nothing else
        place.work = tmp_path / "elsewhere"
        place.work.mkdir()
        agent = place.agent(twin, continuation="native")
        async with open_supervisor(JournalStore(tmp_path / "data"), agent) as supervisor:
            session = await supervisor.session("s")
            second = await session.execute("Who am I?")
            sent = await session.events(types={"message_sent"})

    messages = twin.requests[-1].body["messages"]
    assert second.unwrap()["provider_session"] == first.unwrap()["provider_session"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert "I am Ada." in json.dumps(messages[0])
    assert "Hello Ada." in json.dumps(messages[1])
    assert "Who am I?" in json.dumps(messages[2])
    assert "conversation" not in json.dumps(messages[2])
    assert [event.data["content"] for event in sent] == ["I am Ada.", "Who am I?"]


async def test_only_the_restored_branch_is_told_and_then_continued(place):
    async with (
        answering([Text("A1"), Text("A2"), Text("A3"), Text("A4"), Text("A5")]) as twin,
        open_supervisor(MemoryStore(), place.agent(twin)) as supervisor,
    ):
        session = await supervisor.session("s")
        await session.execute("First, I am Ada.")
        checkpoint = await session.checkpoint()
        await session.execute("Second, forget this.")
        await session.restore(checkpoint.checkpoint_id)
        await session.execute("Third.")
        restored = asked(twin)
        await session.execute("Fourth.")
        continued = asked(twin)
        await session.clear()
        await session.execute("Fifth.")
        cleared = asked(twin)

    assert "I am Ada." in restored
    assert "forget this" not in restored
    assert "I am Ada." in continued
    assert "Third." in continued
    assert "forget this" not in continued
    assert len(twin.requests[-2].body["messages"]) == 3
    assert "I am Ada." not in cleared
    assert "Third." not in cleared


async def test_sessions_do_not_see_each_other(place):
    async with (
        answering([Text("A1"), Text("A2"), Text("A3")]) as twin,
        open_supervisor(MemoryStore(), place.agent(twin)) as supervisor,
    ):
        await (await supervisor.session("one")).execute("I am Ada.")
        await (await supervisor.session("two")).execute("Who am I?")
        other = asked(twin)
        fork = await (await supervisor.session("one")).fork()
        await fork.execute("And in the fork?")
        forked = asked(twin)

    assert "I am Ada." not in other
    assert "I am Ada." in forked


async def test_a_call_waits_for_its_approval(place):
    script = [[ToolUse("Bash", {"command": "touch made"}, id="t1")], Text("Done.")]

    async with (
        answering(script) as twin,
        open_supervisor(MemoryStore(), place.agent(twin)) as supervisor,
    ):
        session = await supervisor.session("s")
        submitted = await session.submit("make it")
        async with session.subscribe(types={"tool_approval_requested"}) as events:
            async for event in events:
                assert not (place.work / "made").exists()
                assert await session.approve(event.data["request_id"], by="me")
                assert not await session.approve(event.data["request_id"])
                break
        outcome = await submitted.wait(timeout_seconds=SECONDS_MAX)

    assert outcome.unwrap()["content"] == "Done."
    assert (place.work / "made").exists()


async def test_a_denied_call_is_told_to_the_model(place):
    script = [[ToolUse("Bash", {"command": "touch made"}, id="t1")], Text("Then not.")]
    context = RecordingContext(answers={"approval:t1": {"approved": False, "reason": "not now"}})

    async with answering(script) as twin:
        await run(place.agent(twin), context, "make it")

    assert "not now" in asked(twin)
    assert not (place.work / "made").exists()
    assert data_of(context, "tool_call_failed")[0]["error"]["code"] == "denied"


@pytest.mark.parametrize(
    ("mode", "made"), [("full_auto", True), ("accept_edits", True), ("default", False)]
)
async def test_a_mode_decides_what_is_asked(place, mode, made):
    path = place.work / "made.txt"
    call = ToolUse("Write", {"file_path": str(path), "content": "x"}, id="t1")
    agent_options = {"permission_mode": mode, "approval_timeout_seconds": 0.05}

    async with answering([[call], Text("Done.")]) as twin:
        await run(place.agent(twin, **agent_options), RecordingContext(), "make it")

    assert path.exists() is made


async def test_a_plan_runs_nothing_that_changes_anything(place):
    script = [[ToolUse("Bash", {"command": "touch made"}, id="t1")], Text("A plan.")]
    options = {"permission_mode": "plan", "approval_timeout_seconds": 0.05}

    async with answering(script) as twin:
        await run(place.agent(twin, **options), RecordingContext(), "plan it")

    assert not (place.work / "made").exists()


async def test_hooks_deny_change_and_replace(place):
    script = [
        [
            ToolUse("Bash", {"command": "echo secret"}, id="t1"),
            ToolUse("Bash", {"command": "echo plain"}, id="t2"),
        ],
        Text("Done."),
    ]
    results = []

    async def before(call):
        if "secret" in call.tool_input["command"]:
            return Deny("no secrets")
        return ChangeInput({"command": "printf exchan; printf jed"})

    async def after(call, result):
        results.append((call.tool_call_id, result.is_error))
        return ReplaceResult({**result.output, "stdout": "replaced"})

    hooks = Hooks(before_tool=[before], after_tool=[after])
    context = RecordingContext()
    async with answering(script) as twin:
        await run(place.agent(twin, hooks=hooks), context, "look")

    assert "no secrets" in asked(twin)
    assert "replaced" in asked(twin)
    assert "exchanjed" not in asked(twin)
    assert results == [("t2", False)]
    assert data_of(context, "tool_call_failed")[0]["tool_call_id"] == "t1"


async def test_our_own_tools_are_offered_and_called(place):
    called = []

    @tool
    async def add(one: int, two: Annotated[int, "the other"], context: ToolContext) -> int:
        """Add two numbers."""
        called.append((one, two, context.tool_call_id))
        return one + two

    @tool(needs_approval=True)
    async def drop(what: str) -> str:
        """Drop something."""
        raise LookupError(f"there is no {what}")

    script = [
        [
            ToolUse("mcp__moorage__add", {"one": 1, "two": 2}, id="t1"),
            ToolUse("mcp__moorage__drop", {"what": "table"}, id="t2"),
        ],
        Text("Done."),
    ]
    context = RecordingContext(answers={"approval:t2": True})
    async with answering(script) as twin:
        await run(place.agent(twin, tools=[add, drop]), context, "add")

    offered = {item["name"]: item for item in twin.requests[0].body["tools"]}
    assert offered["mcp__moorage__add"]["description"] == "Add two numbers."
    assert called == [(1, 2, "t1")]
    (completed,) = data_of(context, "tool_call_completed")
    assert (completed["tool_name"], completed["tool_output"]) == ("add", "3")
    (failed,) = data_of(context, "tool_call_failed")
    assert failed["tool_name"] == "drop"
    assert "there is no table" in failed["error"]["message"]
    assert [data["tool_name"] for data in data_of(context, "tool_approval_requested")] == ["drop"]


async def test_a_steer_is_in_the_next_request_and_the_run_ends_with_its_answer(place, pace):
    script = [
        [ToolUse("Bash", {"command": f"touch made; {WAIT}"}, id="t1")],
        Text("Steered."),
    ]
    context = RecordingContext(answers={"approval:t1": True})

    async with answering(script) as twin, trio.open_nursery() as nursery:

        async def steer():
            while not data_of(context, "tool_approval_granted"):
                await context.wait_events(len(context.events) + 1)
            assert context.steer("Rather something else.", id="steer-7")
            await pace.programs_had_time()
            place.go()

        nursery.start_soon(steer)
        ended = await run(place.agent(twin), context, "make it")

    sent = data_of(context, "message_sent")
    types = types_of(context)
    assert ended.output["content"] == "Steered."
    assert len(twin.requests) == 2
    assert "Rather something else." in asked(twin)
    assert sent[1] == {"role": "user", "content": "Rather something else.", "steer_id": "steer-7"}
    assert types.index("tool_call_completed") < len(types) - types[::-1].index("message_sent")
    assert len(data_of(context, "tool_call_completed")) == 1


async def test_every_call_has_a_result_where_a_steer_comes_in_between(place, pace):
    calls = [ToolUse("Bash", {"command": f"touch {n}; {WAIT}"}, id=f"t{n}") for n in (1, 2)]
    context = RecordingContext()

    async with answering([calls, Text("Steered.")]) as twin, trio.open_nursery() as nursery:

        async def steer():
            with trio.fail_after(SECONDS_MAX):
                await _told(context, "tool_call_started")
            assert context.steer("Rather something else.")
            await pace.programs_had_time()
            place.go()

        nursery.start_soon(steer)
        await run(place.agent(twin, permission_mode="full_auto"), context, "make it")

    ended = data_of(context, "tool_call_completed") + data_of(context, "tool_call_failed")
    assert "Rather something else." in asked(twin)
    assert [result.id for result in twin.requests[1].tool_results] == ["t1", "t2"]
    assert sorted(data["tool_call_id"] for data in ended) == ["t1", "t2"]


async def test_arguments_that_cannot_be_read_are_told_to_the_model(place):
    bad = ToolUse("Bash", raw_arguments='{"command": ', id="t1")
    context = RecordingContext()

    async with answering([[bad], Text("Sorry.")]) as twin:
        ended = await run(place.agent(twin, permission_mode="full_auto"), context, "make it")

    assert ended.output["content"] == "Sorry."
    assert [result.id for result in twin.requests[1].tool_results] == ["t1"]
    assert [data["tool_call_id"] for data in data_of(context, "tool_call_failed")] == ["t1"]


async def test_a_steer_while_the_model_speaks_is_a_turn_of_its_own_in_the_same_run(place, pace):
    script = [[Text("one two "), Stall(20.0), Text("three four")], Text("Steered.")]
    context = RecordingContext()

    async with answering(script) as twin, trio.open_nursery() as nursery:

        async def steer():
            while not context.deltas():
                await context.wait_events(len(context.events) + 1)
            context.steer("Stop that.")
            await pace.programs_had_time()
            pace.skip(20.0)

        nursery.start_soon(steer)
        ended = await run(place.agent(twin), context, "count")

    received = [data["content"] for data in data_of(context, "message_received")]
    assert ended.output["content"] == "Steered."
    assert ended.output["turns"] == 2
    assert received == ["one two three four", "Steered."]
    assert "Stop that." in asked(twin)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (HttpError(401), "provider_authentication"),
        (HttpError(429), "provider_rate_limited"),
        (HttpError(500), "provider_unavailable"),
        (HttpError(529), "provider_overloaded"),
        (HttpError(400, kind="context_overflow"), "context_overflow"),
        (HttpError(404), "request_invalid"),
        (Cut(), "connection_lost"),
    ],
)
async def test_an_error_of_the_model_fails_the_run_and_the_next_one_goes_on(place, reply, code):
    broken = True

    def script(request):
        return reply if broken else Text("Fine again.")

    async with (
        answering(script) as twin,
        open_supervisor(MemoryStore(), place.agent(twin)) as supervisor,
    ):
        session = await supervisor.session("s")
        failed = await session.execute("one")
        broken = False
        second = await session.execute("two")
        everything = [event.data for event in await session.events(limit=1_000)]

    assert failed.error.code == code
    assert second.unwrap()["content"] == "Fine again."
    assert "one" in asked(twin)
    assert KEY not in json.dumps(everything, default=str)


async def test_an_error_that_passes_is_told_and_recovered_from(place):
    context = RecordingContext()

    async with answering([HttpError(529), Text("Here I am.")]) as twin:
        ended = await run(place.agent(twin), context, "hello")

    assert ended.output["content"] == "Here I am."
    assert data_of(context, "error_occurred")[0]["code"] == "provider_overloaded"
    assert data_of(context, "error_recovered")[0]["code"] == "provider_overloaded"


async def test_too_many_turns_are_a_failure(place):
    async with answering([[ToolUse("Bash", {"command": "echo hi"})], Text("x")]) as twin:
        ended = await run(place.agent(twin, turns_max=1), RecordingContext(), "look")

    assert ended.error.code == "turns_exceeded"


async def test_without_a_key_the_model_is_not_asked(place):
    async with answering([Text("x")]) as twin:
        agent = place.agent(twin, environment={"ANTHROPIC_API_KEY": None})
        ended = await run(agent, RecordingContext(), "hello")

    assert ended.error.code == "provider_not_configured"
    assert twin.requests == []


async def _told(context, type):
    while type not in types_of(context):
        await context.wait_events(len(context.events) + 1)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("script", "when"),
    [
        ([[Text("Hel lo "), Stall()]], "message_streamed"),
        (
            [[ToolUse("Bash", {"command": "touch made; sleep 60"}, id="a1")]],
            "tool_approval_granted",
        ),
        ([[ToolUse("Bash", {"command": "touch made"}, id="a2")]], "tool_approval_requested"),
    ],
    ids=["stream", "tool", "approval"],
)
async def test_a_cancelled_run_ends_within_a_second(place, script, when, pace):
    context = RecordingContext(answers={"approval:a1": True})

    async with answering(script) as twin, trio.open_nursery() as nursery:
        nursery.start_soon(run, place.agent(twin), context, "go")
        with trio.fail_after(SECONDS_MAX):
            await _told(context, when)
            while when == "tool_approval_granted" and not (place.work / "made").exists():
                await trio.sleep(0.01)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended, slowness=2.0)

    calls = len(data_of(context, "tool_call_started"))
    assert len(data_of(context, "tool_call_failed")) == calls


@pytest.mark.parametrize(
    ("first", "when"),
    [
        ([Text("Hel "), Stall()], "message_streamed"),
        ([ToolUse("Bash", {"command": "touch made; sleep 60"})], "tool_call_started"),
        ([ToolUse("Write", {"file_path": "x", "content": "y"})], "tool_approval_requested"),
    ],
    ids=["stream", "tool", "approval"],
)
async def test_a_session_goes_on_natively_after_a_cancelled_run(place, first, when, monkeypatch):
    monkeypatch.setattr(conversation, "STOP_SECONDS", SECONDS_MAX)
    script = [Text("Hello Ada."), first, Text("I am here.")]
    mode = "full_auto" if when == "tool_call_started" else "default"

    async with (
        answering(script) as twin,
        open_supervisor(MemoryStore(), place.agent(twin, permission_mode=mode)) as supervisor,
    ):
        session = await supervisor.session("s")
        await session.execute("My name is Ada.")
        submitted = await session.submit("Do as I say.")
        async with session.subscribe(run_id=submitted.id, types={when}) as events:
            async for _ in events:
                break
        await submitted.cancel()
        cancelled = await submitted.wait(timeout_seconds=SECONDS_MAX)
        last = await session.execute("Who am I?")

    said = asked(twin)
    assert cancelled.state is RunState.CANCELLED
    assert last.unwrap()["content"] == "I am here."
    assert said.count("My name is Ada.") == said.count("Do as I say.") == 1
    assert "<conversation>" not in said


@contextmanager
def twin_elsewhere(script):
    """A twin in a thread of its own: the checks look at the tasks of this one."""
    twin, ready, over = ModelTwin(script), threading.Event(), threading.Event()

    async def serve():
        async with twin.serving():
            ready.set()
            await trio.to_thread.run_sync(over.wait)

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(SECONDS_MAX)
    try:
        yield twin
    finally:
        over.set()
        thread.join(SECONDS_MAX)


class Fixture:
    """For the conformance suite: what each run is to do is in the twin's script."""

    cancel_grace_seconds = SECONDS_MAX

    def __init__(self, place, twin):
        self._place = place
        self._twin = twin
        self.reply = Text("")

    def returning(self, output):
        agent = self.streaming(["Hello"])

        async def wrapped(request, context):
            await agent(request, context)
            return output

        return wrapped

    def streaming(self, deltas):
        self.reply = [Text(delta, pieces=1) for delta in deltas]
        return self._agent()

    def failing(self, message):
        self.reply = HttpError(400, message)
        return self._agent()

    def endless(self):
        self.reply = [Text("and so on "), Stall()]
        return self._agent()

    def _agent(self):
        agent = self._place.agent(self._twin)

        async def without_options(request, context):
            return await agent(attrs.evolve(request, input="Hello"), context)

        return without_options


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(place, check):
    fixtures = []

    with twin_elsewhere(lambda request: fixtures[0].reply) as twin:
        fixtures.append(Fixture(place, twin))
        with trio.fail_after(2 * SECONDS_MAX):
            await check(fixtures[0])


SERVICE = """
import json, sys, trio
from moorage.adapters.agents.claude_code.agent import ClaudeAgent
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

async def main():
    given = json.loads(sys.argv[1])
    agent = ClaudeAgent(**given["agent"])
    async with open_supervisor(JournalStore(given["data"]), agent) as supervisor:
        session = await supervisor.session("s")
        (await session.execute("My name is Ada.")).unwrap()
        run = await session.submit("Go on for ever.")
        async with session.subscribe(run_id=run.id, types={given["until"]}) as events:
            async for event in events:
                break
        await trio.sleep(0.5)
        print("running", run.id, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def told_by(service):
    """The id of the run that the service says is running; its log is on the same pipe."""
    for line in service.stdout:
        word, _, run_id = line.decode().strip().partition(" ")
        if word == "running":
            return run_id
    raise AssertionError("the service ended")


def service_of(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def descendants(pid):
    """Ids of all processes below one, but for the watcher, which ends when they have."""
    found = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                if b"watcher_program" not in Path(f"/proc/{child}/cmdline").read_bytes():
                    found |= {child} | descendants(child)
    return found


@pytest.mark.parametrize(
    ("reply", "until"),
    [
        ([Text("For ever "), Stall()], "message_streamed"),
        ([ToolUse("Bash", {"command": "touch made; sleep 600"}, id="t1")], "tool_call_started"),
    ],
    ids=["stream", "tool"],
)
async def test_nothing_outlives_a_sigkill_and_the_conversation_goes_on(
    place, tmp_path, wait_gone, reply, until
):
    replies = iter([Text("Hello Ada."), reply, Text("You are Ada.")])
    async with answering(lambda request: next(replies)) as twin:
        options = place.options(twin, permission_mode="full_auto")
        given = {"agent": options, "data": str(tmp_path / "data"), "until": until}
        command = [sys.executable, "-c", SERVICE, json.dumps(given)]
        with service_of(command) as service:
            with trio.fail_after(SECONDS_MAX):
                run_id = await trio.to_thread.run_sync(told_by, service)
            below = descendants(service.pid)
            service.kill()
        await wait_gone(*below)
        store = JournalStore(tmp_path / "data")
        async with open_supervisor(store, ClaudeAgent(**options)) as supervisor:
            session = await supervisor.session("s")
            killed = await session.wait(run_id, timeout_seconds=SECONDS_MAX)
            last = await session.execute("Who am I?")

    assert below
    assert killed.state is RunState.INTERRUPTED
    assert last.unwrap()["content"] == "You are Ada."
    assert "My name is Ada." in asked(twin)
    assert "Go on for ever." in asked(twin)


async def test_the_version_is_that_of_the_program(place):
    async with answering([]) as twin:
        version = await place.agent(twin).version()

    assert version.endswith("(Claude Code)")


async def test_what_a_subagent_does_carries_the_call_that_started_it(place):
    task = {"description": "d", "prompt": "HELPER: go", "subagent_type": "general-purpose"}
    main = iter([[ToolUse("Agent", task, id="above")], Text("Started."), Text("All done.")])
    below = iter([[ToolUse("Bash", {"command": "echo below"}, id="below")], Text("Below is done.")])
    context = RecordingContext()

    def reply(request):
        is_below = "HELPER: go" in json.dumps(request.body["messages"][0])
        return next(below if is_below else main)

    async with answering(reply) as twin:
        ended = await run(place.agent(twin), context, "delegate")

    parents = {
        event.data["tool_call_id"]: event.metadata.get("parent_tool_call_id")
        for event in context.events
        if event.type == "tool_call_completed"
    }
    paths = {data.get("subpath") for data in data_of(context, "claude_transcript")}
    assert ended.output["content"] == "All done."
    assert parents == {"above": None, "below": "above"}
    assert any(path and path.startswith("subagents/") for path in paths)


async def test_an_image_is_given_to_the_model(place):
    png = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
        b"\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99"
        b"=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
    )
    image = {"type": "image", "media_type": "image/png", "data": png}
    said = {"content": [{"type": "text", "text": "What is this?"}, image]}

    async with answering([Text("A dot.")]) as twin:
        ended = await run(place.agent(twin), RecordingContext(), said)

    assert ended.output["content"] == "A dot."
    assert "image/png" in asked(twin)
