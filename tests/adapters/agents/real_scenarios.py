"""What a coding agent's real program has to show against a ModelTwin, the same for each of them.

A test module of an agent makes a subclass of RealScenarios that says how its agent is made and how
the model calls its shell; the tests come with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.conformance import CHECKS, Check
from moorage.adapters.agents.model_twin import (
    Cut,
    HttpError,
    ModelTwin,
    Stall,
    Text,
    Thinking,
    ToolUse,
)
from moorage.adapters.agents.model_twin.client_settings import KEY
from moorage.adapters.agents.provider.hooks import Allow, Deny, Hooks
from moorage.runtime import Run, RunOutcome, RunState, Session, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.agents.conftest import Pace, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SECONDS_MAX = 120.0
"""Nothing here takes more than a few seconds; a busy machine may take its time."""
MARK = "MOORAGE_TEST_MARK"
REPLAYED = "<conversation>"
WAIT = "while [ ! -e go ]; do sleep 0.02; done"
"""A command that ends when the test says so."""
SILENCE = Stall(20.0)
"""Ends when the test lets so much time pass."""


@attrs.define
class Place:
    """Folders of one test, and the mark by which the processes of its agents are found."""

    path: Path
    mark: str = attrs.field(factory=lambda: uuid.uuid4().hex)

    @property
    def work(self) -> Path:
        (self.path / "work").mkdir(exist_ok=True)
        return self.path / "work"

    @property
    def environment(self) -> dict[str, str]:
        return {MARK: self.mark, "HOME": str(self.path)}

    def processes(self) -> list[int]:
        """Ids of the processes that run with the mark in their environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes()
            except OSError:  # it has ended, or is not ours
                continue
            if marked and running(int(entry.name)):
                found.append(int(entry.name))
        return found

    def go(self) -> None:
        """Let the commands end that WAIT."""
        (self.work / "go").touch()

    async def wait_gone(self) -> None:
        with trio.fail_after(SECONDS_MAX):
            while self.processes():
                await trio.sleep(0.005)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@asynccontextmanager
async def talking(agent: Any) -> AsyncIterator[Session]:
    """A session of a supervisor in which ``agent`` executes the runs."""
    with trio.fail_after(SECONDS_MAX):
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            yield await supervisor.session("talk")


async def events_of(session: Session, *types: str, run_id: str | None = None) -> list[Any]:
    """Events of these types, each as its data."""
    page = await session.events(limit=1_000, types=set(types), run_id=run_id)
    return [event.data for event in page]


async def asked_for(session: Session) -> dict[str, Any]:
    """Wait for the next tool_approval_requested; its data."""
    async with session.subscribe(after=0, types={"tool_approval_requested"}) as events:
        async for event in events:
            return dict(event.data)
    raise AssertionError("the subscription ended")


async def wait_ended(run: Run, ended: trio.Event) -> None:
    await run.wait()
    ended.set()


async def wait_streaming(session: Session, type: str = "message_streamed") -> None:
    async with session.subscribe(after=0, types={type}) as events:
        async for _ in events:
            return


def users(request: Any) -> list[str]:
    """What users say in a request to the model, the program's own additions included."""
    return [text for role, text in request.texts if role == "user"]


def error_of(outcome: RunOutcome) -> dict[str, Any]:
    """The error of a run that failed, as a map."""
    assert outcome.state is RunState.FAILED, outcome
    assert outcome.error is not None
    return attrs.asdict(outcome.error)


def started(code: str) -> subprocess.Popen[str]:
    """A process of its own that runs this, and tells us what it prints."""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


async def finished(code: str) -> list[str]:
    """The words that a process of its own prints, which runs this."""
    with trio.fail_after(SECONDS_MAX):
        done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    return done.stdout.decode().split()


class RealScenarios:
    """Tests of one agent; a subclass says what is its own."""

    provider: str
    keeps_at_once = True
    """Whether the program's own session survives a kill right after its first words."""

    def agent(self, twin: ModelTwin, place: Place, **options: Any) -> Any:
        """The agent under test, asking ``twin``."""
        raise NotImplementedError

    def shell(self, command: str) -> ToolUse:
        """A call of the program's shell, that needs an approval by default."""
        raise NotImplementedError

    def script_of_kill(self, url: str, place: Place) -> str:
        """Python statements that bind ``agent`` to the agent under test in a process of its own."""
        raise NotImplementedError

    # ---- one turn ----

    async def test_a_turn_is_told_from_the_first_word_to_its_usage(self, place: Place) -> None:
        script = [[Thinking("hmm"), Text("Hello there, friend.")]]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, system_prompt="Be kind to Ada.")) as session,
        ):
            outcome = await session.execute("Hi")

        output = outcome.unwrap()
        assert (output["content"], output["provider"], output["stop_reason"], output["turns"]) == (
            "Hello there, friend.",
            self.provider,
            "end_turn",
            1,
        )
        assert output["model"] == twin.requests[0].model
        assert "Be kind to Ada." in twin.requests[0].system

    async def test_its_events_come_in_order(self, place: Place) -> None:
        script = [[Thinking("hmm"), Text("Hello there.")]]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place)) as session,
        ):
            run = await session.submit("Hi")
            await run.wait()
            events = await session.events(limit=1_000, run_id=run.id)

        types = [e.type for e in events if e.type not in ("provider_event", "token_usage_updated")]
        streamed = [e.data for e in events if e.type == "message_streamed"]
        usage = [e.data for e in events if e.type == "token_usage_updated"]
        assert [t for t in types if t != "message_streamed"] == [
            "run_submitted",
            "run_started",
            "conversation_configured",
            "message_sent",
            "message_received",
            "turn_completed",
            "run_completed",
        ]
        assert "".join(s["delta"] for s in streamed) == "Hello there."
        assert "".join(s.get("thinking", "") for s in streamed) == "hmm"
        assert len(usage) == 1
        assert usage[0]["output_tokens"] > 0

    async def test_it_works_in_its_directory_and_tools_are_told(self, place: Place) -> None:
        script = [[self.shell("pwd")], Text("There.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, permission_mode="full_auto")) as session,
        ):
            await session.execute("Where are you?")
            started = await events_of(session, "tool_call_started")
            completed = await events_of(session, "tool_call_completed")

        assert len(started) == len(completed) == 1
        assert started[0]["tool_call_id"] == completed[0]["tool_call_id"]
        assert "pwd" in json.dumps(started[0]["tool_input"])
        assert str(place.work) in json.dumps(completed[0]["tool_output"])

    # ---- conversation ----

    async def test_the_second_turn_sends_only_what_is_new(self, place: Place) -> None:
        script = [Text("The word is heron."), Text("Heron.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, continuation="native")) as session,
        ):
            first = (await session.execute("Remember the word heron.")).unwrap()
            second = (await session.execute("Which word was it?")).unwrap()

        said = "\n".join(users(twin.requests[1]))
        assert first["provider_session"] == second["provider_session"]
        assert said.count("Remember the word heron.") == 1
        assert REPLAYED not in said
        assert ("assistant", "The word is heron.") in twin.requests[1].texts
        assert users(twin.requests[1])[-1].endswith("Which word was it?")

    @pytest.mark.parametrize("continuation", ["replay", "none"])
    async def test_a_conversation_can_be_told_again_or_left_out(
        self, place: Place, continuation: Any
    ) -> None:
        async with (
            ModelTwin([Text("The word is heron."), Text("Hm.")]).serving() as twin,
            talking(self.agent(twin, place, continuation=continuation)) as session,
        ):
            await session.execute("Remember the word heron.")
            (await session.execute("Which word was it?")).unwrap()

        said = users(twin.requests[1])[-1]
        assert (REPLAYED in said) is (continuation == "replay")
        assert ("Remember the word heron." in said) is (continuation == "replay")
        assert said.endswith("Which word was it?")

    async def test_a_lost_session_is_told_again_and_that_is_told(self, place: Place) -> None:
        key = f"provider_session.{self.provider}"
        async with (
            ModelTwin([Text("The word is heron."), Text("Heron.")]).serving() as twin,
            talking(self.agent(twin, place)) as session,
        ):
            await session.execute("Remember the word heron.")
            handle = (await session.info()).metadata[key]
            lost = {**handle, "id": "01a21b30-8d1c-7180-90f1-907d99e4bcf9"}
            await session.configure(metadata_update={key: lost})
            (await session.execute("Which word was it?")).unwrap()
            recovered = await events_of(session, "error_recovered")

        assert "Remember the word heron." in users(twin.requests[1])[-1]
        assert [event["code"] for event in recovered] == ["continuation_fallback"]

    async def test_a_lost_session_is_an_error_where_it_has_to_be_native(self, place: Place) -> None:
        key = f"provider_session.{self.provider}"
        async with (
            ModelTwin([Text("The word is heron.")]).serving() as twin,
            talking(self.agent(twin, place, continuation="native")) as session,
        ):
            await session.execute("Remember the word heron.")
            handle = (await session.info()).metadata[key]
            lost = {**handle, "id": "01a21b30-8d1c-7180-90f1-907d99e4bcf9"}
            await session.configure(metadata_update={key: lost})
            outcome = await session.execute("Which word was it?")

        assert error_of(outcome)["code"] == "continuation_lost"
        assert len(twin.requests) == 1

    # ---- approvals ----

    async def test_a_tool_runs_once_it_is_approved(self, place: Place) -> None:
        script = [[self.shell("echo made > made.txt")], Text("Made.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place)) as session,
        ):
            run = await session.submit("Make it.")
            asked = await asked_for(session)
            there_before = (place.work / "made.txt").exists()
            first = await session.approve(asked["request_id"], by="ada")
            second = await session.approve(asked["request_id"])
            (await run.wait()).unwrap()
            granted = await events_of(session, "tool_approval_granted")
            completed = await events_of(session, "tool_call_completed")

        assert "made.txt" in json.dumps(asked["tool_input"])
        assert (there_before, first, second) == (False, True, False)
        assert (place.work / "made.txt").read_text() == "made\n"
        assert [event["by"] for event in granted] == ["ada"]
        assert [event["tool_call_id"] for event in completed] == [asked["tool_call_id"]]

    async def test_a_denied_tool_does_not_run_and_the_model_is_told(self, place: Place) -> None:
        script = [[self.shell("echo made > made.txt")], Text("I see.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place)) as session,
        ):
            run = await session.submit("Make it.")
            await session.deny((await asked_for(session))["request_id"], reason="not today")
            outcome = await run.wait()
            failed = await events_of(session, "tool_call_failed")

        assert outcome.unwrap()["content"] == "I see."
        assert not (place.work / "made.txt").exists()
        assert [event["error"]["code"] for event in failed] == ["denied"]
        assert "reject" in twin.requests[1].tool_results[-1].text.lower()

    async def test_a_permission_handler_answers_instead_of_people(self, place: Place) -> None:
        asked: list[Any] = []

        async def permission(call: Any) -> Any:
            asked.append(call.tool_input)
            return Deny("never") if "secret" in str(call.tool_input) else Allow()

        script = [[self.shell("touch secret")], [self.shell("touch plain")], Text("Done.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, hooks=Hooks(permission=[permission]))) as session,
        ):
            (await session.execute("Make them.")).unwrap()
            requested = await events_of(session, "tool_approval_requested")

        assert len(asked) == 2
        assert (sorted(os.listdir(place.work)), requested) == (["plain"], [])

    async def test_nobody_answering_in_time_is_the_default(self, place: Place) -> None:
        script = [[self.shell("touch made")], Text("I see.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, approval_timeout_seconds=0.3)) as session,
        ):
            (await session.execute("Make it.")).unwrap()
            denied = await events_of(session, "tool_approval_denied")

        assert [event["by"] for event in denied] == ["timeout"]
        assert os.listdir(place.work) == []

    # ---- steering ----

    async def test_a_steer_is_in_the_next_request(self, place: Place, pace: Pace) -> None:
        script = [[self.shell(f"echo ready; {WAIT}")], Text("Blue then."), Text("Blue then.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, permission_mode="full_auto")) as session,
        ):
            run = await session.submit("Paint it red.")
            await wait_streaming(session, "tool_call_started")
            steered = await run.steer("Blue, please.")
            await pace.programs_had_time()
            place.go()
            (await run.wait()).unwrap()
            sent = await events_of(session, "message_sent", run_id=run.id)

        assert users(twin.requests[1])[-1].endswith("Blue, please.")
        assert [message["content"] for message in sent] == ["Paint it red.", "Blue, please."]
        assert sent[1]["steer_id"] == steered.steer_id

    async def test_every_call_has_a_result_where_a_steer_comes_in_between(
        self, place: Place, pace: Pace
    ) -> None:
        calls = [self.shell(f"echo one; {WAIT}"), self.shell(f"echo two; {WAIT}")]
        replies = iter([calls])
        async with (
            # a program may ask more often: it tells the model of what ended in the background
            ModelTwin(lambda request: next(replies, Text("Blue then."))).serving() as twin,
            talking(self.agent(twin, place, permission_mode="full_auto")) as session,
        ):
            run = await session.submit("Paint it red.")
            await wait_streaming(session, "tool_call_started")
            await run.steer("Blue, please.")
            await pace.programs_had_time()
            place.go()
            (await run.wait()).unwrap()
            started = await events_of(session, "tool_call_started")
            ended = await events_of(session, "tool_call_completed", "tool_call_failed")

        results = [result.id for result in twin.requests[1].tool_results]
        assert users(twin.requests[1])[-1].endswith("Blue, please.")
        assert len(set(results)) == 2
        assert len(started) >= 2  # a program may read what goes on in the background as well
        assert sorted(call["tool_call_id"] for call in ended) == sorted(
            call["tool_call_id"] for call in started
        )

    async def test_arguments_that_cannot_be_read_are_told_to_the_model(self, place: Place) -> None:
        bad = attrs.evolve(self.shell("true"), raw_arguments='{"command": ')
        async with (
            ModelTwin([[bad], Text("Sorry.")]).serving() as twin,
            talking(self.agent(twin, place, permission_mode="full_auto")) as session,
        ):
            outcome = await session.execute("Do it.")
            started = await events_of(session, "tool_call_started")
            ended = await events_of(session, "tool_call_completed", "tool_call_failed")

        assert outcome.unwrap()["content"] == "Sorry."
        assert len(twin.requests[1].tool_results) == 1
        assert len(ended) == len(started)

    async def test_a_steer_while_the_model_speaks_is_in_the_next_request(
        self, place: Place, pace: Pace
    ) -> None:
        script = [[Text("Red "), SILENCE, Text("it is.")], Text("Blue then.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place)) as session,
        ):
            run = await session.submit("Paint it red.")
            await wait_streaming(session)
            await run.steer("Blue, please.")
            await pace.programs_had_time()
            pace.skip(20.0)
            outcome = await run.wait()

        assert outcome.unwrap()["content"] == "Blue then."
        assert users(twin.requests[1])[-1].endswith("Blue, please.")

    # ---- ends ----

    @pytest.mark.parametrize("moment", ["stream", "tool", "approval"])
    async def test_a_cancelled_run_is_gone_in_a_second_and_the_next_goes_on(
        self, place: Place, moment: str, pace: Pace
    ) -> None:
        call = [self.shell("sleep 600")]
        first: Any = [Text("Well, "), Stall(None)] if moment == "stream" else call
        mode = "full_auto" if moment == "tool" else "default"
        async with (
            ModelTwin([first, Text("Heron.")]).serving() as twin,
            talking(
                self.agent(twin, place, permission_mode=mode, continuation="native")
            ) as session,
        ):
            run = await session.submit("Remember the word heron.")
            if moment == "approval":
                await asked_for(session)
            else:
                await wait_streaming(
                    session, "message_streamed" if moment == "stream" else "tool_call_started"
                )
            there = place.processes()
            async with trio.open_nursery() as nursery:
                ended = trio.Event()
                nursery.start_soon(wait_ended, run, ended)
                await run.cancel()
                gone = lambda: ended.is_set() and not place.processes()  # noqa: E731
                await pace.ends_within(1.0, gone, slowness=2.0)
            outcome = await run.wait()
            failed = await events_of(session, "tool_call_failed", run_id=run.id)
            (await session.execute("Which word was it?")).unwrap()

        said = users(twin.requests[-1])
        assert there
        assert outcome.state is RunState.CANCELLED
        assert len(failed) == (0 if moment == "stream" else 1)
        assert any("Remember the word heron." in text for text in said)
        assert REPLAYED not in "\n".join(said)

    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            (HttpError(401, "bad key"), "provider_authentication"),
            (HttpError(429, "slow down", retry_after=0), "provider_rate_limited"),
            (HttpError(500, "broken", retry_after=0), "provider_unavailable"),
            (HttpError(503, "the model is overloaded", retry_after=0), "provider_overloaded"),
            ([Text("Well, "), Cut()], "connection_lost"),
        ],
        ids=["401", "429", "500", "overloaded", "cut"],
    )
    async def test_errors_of_the_model_fail_the_run_by_their_kind(
        self, place: Place, reply: Any, code: str
    ) -> None:
        async with (
            ModelTwin(lambda request: reply).serving() as twin,
            talking(self.agent(twin, place, **self.impatient(twin))) as session,
        ):
            outcome = await session.execute("Hi")
            told = await events_of(session, "error_occurred")
            everything = [event.data for event in await session.events(limit=1_000)]

        error = error_of(outcome)
        assert error["code"] == code
        assert error["details"]["provider"] == self.provider
        assert told[-1]["code"] == code
        assert KEY not in json.dumps(everything, default=str)
        await place.wait_gone()

    def impatient(self, twin: ModelTwin) -> dict[str, Any]:
        """Options that make the program try a request only once, where it has such."""
        return {}

    async def test_turns_are_bounded(self, place: Place) -> None:
        script = lambda request: [self.shell("true")]  # noqa: E731 - a model that never ends
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, permission_mode="full_auto", turns_max=2)) as session,
        ):
            outcome = await session.execute("Go on.")

        assert error_of(outcome)["code"] == "turns_exceeded"
        assert len(twin.requests) in (2, 3)

    async def test_a_bad_directory_is_told_before_anything_is_asked(self, place: Place) -> None:
        async with (
            ModelTwin([Text("Hi.")]).serving() as twin,
            talking(self.agent(twin, place, working_directory=place.path / "none")) as session,
        ):
            outcome = await session.execute("Hi")
            sent = await events_of(session, "message_sent")

        assert error_of(outcome)["code"] == "provider_not_configured"
        assert (twin.requests, sent) == ([], [])

    async def test_a_kill_leaves_no_process_and_the_next_run_goes_on(self, place: Place) -> None:
        first: Any = [self.shell("sleep 600")]
        async with ModelTwin([first, Text("Heron.")]).serving() as twin:
            assert twin.url is not None
            owner = started(KILLED.format(make=self.script_of_kill(twin.url, place)))
            assert owner.stdout is not None
            with trio.fail_after(SECONDS_MAX):
                line = await trio.to_thread.run_sync(owner.stdout.readline, abandon_on_cancel=True)
            there = len(place.processes())
            owner.send_signal(signal.SIGKILL)
            owner.wait()
            owner.stdout.close()
            await place.wait_gone()
            words = await finished(AFTER.format(make=self.script_of_kill(twin.url, place)))

        said = users(twin.requests[-1])
        assert line == "started\n"
        assert there >= 1
        assert words == ["interrupted", "completed"]
        assert any("Remember the word heron." in text for text in said)
        if self.keeps_at_once:
            assert REPLAYED not in "\n".join(said)

    async def test_a_kill_in_a_later_turn_loses_nothing(self, place: Place) -> None:
        script = [Text("I am Ada."), [self.shell("sleep 600")], Text("Heron.")]
        async with ModelTwin(script).serving() as twin:
            assert twin.url is not None
            make = self.script_of_kill(twin.url, place)
            await finished(BEFORE.format(make=make))
            owner = started(KILLED.format(make=make))
            assert owner.stdout is not None
            with trio.fail_after(SECONDS_MAX):
                await trio.to_thread.run_sync(owner.stdout.readline, abandon_on_cancel=True)
            owner.send_signal(signal.SIGKILL)
            owner.wait()
            owner.stdout.close()
            await place.wait_gone()
            words = await finished(AFTER.format(make=make))

        said = twin.requests[-1].text
        assert words == ["interrupted", "completed"]
        assert [said.count(text) for text in ("Who are you?", "I am Ada.")] == [1, 1]
        assert "Remember the word heron." in said

    # ---- the suite that every agent passes ----

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_it_conforms(self, check: Check, place: Place, leaves_nothing: None) -> None:
        with TwinThread() as thread, trio.fail_after(2 * SECONDS_MAX):
            await check(RealFixture(self, place, thread))


BEFORE = """
import trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

async def main():
    {make}
    async with open_supervisor(JournalStore("journal"), agent) as supervisor:
        session = await supervisor.session("talk")
        (await session.execute("Who are you?")).unwrap()

trio.run(main)
"""
KILLED = """
import trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

async def main():
    {make}
    async with open_supervisor(JournalStore("journal"), agent) as supervisor:
        session = await supervisor.session("talk")
        await session.submit("Remember the word heron.")
        async with session.subscribe(after=0, types={{"tool_call_started"}}) as events:
            async for event in events:
                print("started", flush=True)

trio.run(main)
"""
AFTER = """
import trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

async def main():
    {make}
    async with open_supervisor(JournalStore("journal"), agent) as supervisor:
        session = await supervisor.session("talk")
        ended = await session.events(limit=100, types={{"run_interrupted"}})
        print(*(event.type.removeprefix("run_") for event in ended))
        print((await session.execute("Which word was it?")).state.value)

trio.run(main)
"""


class TwinThread:
    """A twin served by a thread, whose tasks the suite does not take for those of an agent. Each
    model that is asked for has a reply of its own."""

    def __init__(self) -> None:
        self.twin = ModelTwin(lambda request: self._replies[str(request.model)])
        self._replies: dict[str, Any] = {}
        self._serving = threading.Event()
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._serve,))

    def model(self, reply: Any) -> str:
        """The name of a model that answers so."""
        name = f"gpt-5.5-{len(self._replies)}"
        self._replies[name] = reply
        return name

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with self.twin.serving():
            with self._scope:
                self._serving.set()
                await trio.sleep_forever()

    def __enter__(self) -> TwinThread:
        self._thread.start()
        assert self._serving.wait(SECONDS_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(SECONDS_MAX)


class RealFixture:
    """Behaviour for the conformance suite, played by a twin behind the real program."""

    cancel_grace_seconds = SECONDS_MAX

    def __init__(self, scenarios: RealScenarios, place: Place, thread: TwinThread) -> None:
        self._scenarios = scenarios
        self._place = place
        self._thread = thread

    def returning(self, output: Any) -> Any:
        """An agent around ours that reads the answer as JSON, since outputs have one form here."""
        agent = self._agent([Text(json.dumps(output))])

        async def run(request: Any, context: Any) -> object:
            return json.loads((await agent(request, context))["content"])

        return run

    def streaming(self, deltas: Sequence[str]) -> Any:
        return self._agent([Text("".join(deltas), pieces=len(deltas))])

    def failing(self, message: str) -> Any:
        return self._agent([HttpError(400, message)])

    def endless(self) -> Any:
        return self._agent([Text("Well, "), Stall(None)])

    def _agent(self, reply: Any) -> Any:
        twin, model = self._thread.twin, self._thread.model(reply)
        options = self._scenarios.impatient(twin)
        agent = self._scenarios.agent(
            twin, self._place, model=model, continuation="none", **options
        )

        async def run(request: Any, context: Any) -> object:
            # the suite's input has options that no agent of a provider knows
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run
