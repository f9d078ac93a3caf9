from __future__ import annotations

import json
import sys

import pytest
import trio
from moorage.adapters.agents import claude_code
from moorage.adapters.agents.claude_code.agent import ClaudeAgent
from moorage.adapters.agents.provider.hooks import Hooks
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument

from tests.adapters.agents.claude_code.running import (
    data_of,
    next_context,
    run,
)
from tests.adapters.agents.real_agents import require

require("claude_agent_sdk")
pytestmark = pytest.mark.real_agent


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_run_says_what_it_was_given_and_returns_what_was_answered(fake):
    context = RecordingContext()

    ended = await run(fake.agent("answers", model="m"), context)

    assert ended.output == {
        "content": "Hello world",
        "stop_reason": "end_turn",
        "provider": "claude",
        "model": "fake",
        "turns": 1,
        "provider_session": "5e551011-0000-4000-8000-000000000001",
    }
    assert fake.heard()[0]["message"] == {"role": "user", "content": "Hello"}
    assert data_of(context, "message_sent") == [{"role": "user", "content": "Hello"}]
    assert data_of(context, "conversation_configured")[0]["model"] == "m"
    assert data_of(context, "message_received")[0]["content"] == "Hello world"


async def test_the_next_run_goes_on_with_claude_codes_own_session(fake):
    first = RecordingContext(run_id="first")
    await run(fake.agent("remembers"), first, "one")
    second = next_context(first, "second")

    ended = await run(fake.agent("remembers"), second, "two")

    session = "5e551011-0000-4000-8000-000000000001"
    assert ended.output["content"] == f"resumed {session} with 1 lines"
    assert [message["message"]["content"] for message in fake.heard()] == ["one", "two"]


@pytest.mark.parametrize("continuation", ["auto", "replay"])
async def test_what_claude_code_does_not_know_is_replayed(fake, continuation):
    first = RecordingContext(run_id="first")
    await run(fake.agent("remembers"), first, "one")
    await first.session.append("message_sent", {"role": "user", "content": "by somebody else"})
    second = next_context(first, "second")

    agent = fake.agent("remembers", continuation=continuation)
    ended = await run(agent, second, "two")

    told_before, asked = fake.heard()[1]["message"]["content"]
    recovered = [data["code"] for data in data_of(second, "error_recovered")]
    assert ended.output["content"] == "resumed nothing with 0 lines"
    assert "by somebody else" in told_before["text"]
    assert asked["text"] == "two"
    assert recovered == (["continuation_fallback"] if continuation == "auto" else [])


async def test_native_continuation_without_a_session_fails_before_anything_is_asked(fake):
    first = RecordingContext(run_id="first")
    await run(fake.agent("answers"), first, "one")  # it keeps no transcript
    second = next_context(first, "second")

    ended = await run(fake.agent("answers", continuation="native"), second, "two")

    assert ended.error.code == "continuation_lost"
    assert len(fake.heard()) == 1


async def test_runs_of_one_session_that_overlap_record_no_session_to_continue(fake):
    contexts = [RecordingContext(run_id=run_id) for run_id in ("first", "second")]
    agent = fake.agent("remembers")

    async with trio.open_nursery() as nursery:
        for context in contexts:
            nursery.start_soon(run, agent, context)

    for context in contexts:
        assert (await context.session.info()).metadata == {}


async def test_no_continuation_begins_afresh(fake):
    first = RecordingContext(run_id="first")
    await run(fake.agent("remembers"), first, "one")
    second = next_context(first, "second")

    ended = await run(fake.agent("remembers", continuation="none"), second, "two")

    assert ended.output["content"] == "resumed nothing with 0 lines"
    assert fake.heard()[1]["message"]["content"] == "two"


async def test_its_environment_is_ours_with_changes(fake, monkeypatch):
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("REMOVED", "x")
    agent = fake.agent(
        "tells_environment",
        environment={"ADDED": "yes", "REMOVED": None},
        working_directory=str(fake.directory),
    )

    ended = await run(agent, RecordingContext())

    assert json.loads(ended.output["content"]) == {
        "CLAUDECODE": None,
        "ADDED": "yes",
        "REMOVED": None,
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "PWD": str(fake.directory),
    }


async def test_hooks_hear_of_the_prompt_the_start_and_the_end(fake):
    heard = []

    async def prompt(content):
        heard.append(("prompt", content))
        return "Good day"

    async def start(request):
        heard.append(("start", request.run_id))

    async def end(request, result):
        heard.append(("end", result["content"]))

    hooks = Hooks(prompt=[prompt], start=[start], end=[end])
    await run(fake.agent("answers", hooks=hooks), RecordingContext())

    assert heard == [("prompt", "Hello"), ("start", "run"), ("end", "Hello world")]
    assert fake.heard()[0]["message"]["content"] == "Good day"


async def test_the_end_hook_hears_of_a_failure(fake):
    heard = []

    async def end(request, result):
        heard.append(result.code)

    await run(fake.agent("fails", hooks=Hooks(end=[end])), RecordingContext())

    assert heard == ["provider_overloaded"]


async def test_options_of_a_run_beat_the_agents(fake):
    context = RecordingContext()

    await run(
        fake.agent("answers", model="one", turns_max=2),
        context,
        {"prompt": "Hello", "options": {"model": "two"}},
    )

    (configured,) = data_of(context, "conversation_configured")
    assert configured["model"] == "two"
    assert configured["turns_max"] == 2


@pytest.mark.parametrize(
    "said",
    [
        {"prompt": "Hello", "options": {"provider_options": {"resume": "x"}}},
        {"prompt": "Hello", "options": {"provider_options": {"no_such": 1}}},
        {"prompt": "Hello", "options": {"depth": 1}},
        {"messages": [{"role": "assistant", "content": "x"}]},
        "",
        None,
    ],
)
async def test_an_input_that_cannot_be_meant_is_refused_before_anything_is_started(fake, said):
    ended = await run(fake.agent("answers"), RecordingContext(), said)

    assert isinstance(ended.error, InvalidArgument)
    assert fake.heard() == []


@pytest.mark.parametrize(
    "options",
    [
        {"permission_mode": "yolo"},
        {"provider_options": {"resume": "x"}},
        {"approval_default": "maybe"},
        {"approval_wait": "sleep"},
        {"coalesce_seconds": -1},
        {"start_seconds": 0},
        {"line_bytes_max": "much"},
        {"turns_max": 0},
    ],
)
def test_bad_values_are_refused_when_the_agent_is_made(options):
    with pytest.raises(InvalidArgument):
        ClaudeAgent(**options)


async def test_a_program_that_is_not_there_is_told_before_the_run_starts():
    context = RecordingContext()

    ended = await run(ClaudeAgent(executable="/no/such/claude"), context)

    assert ended.error.code == "provider_not_installed"
    assert context.events == []


async def test_a_working_directory_that_is_not_there_is_told(fake):
    agent = fake.agent("answers", working_directory="/no/such/directory")

    ended = await run(agent, RecordingContext())

    assert ended.error.code == "provider_not_configured"


async def test_without_the_sdk_it_says_what_to_install(monkeypatch):
    for name in ("run", "sdk", "conversation"):
        monkeypatch.delitem(sys.modules, f"{claude_code.__name__}.{name}", raising=False)
        monkeypatch.delattr(claude_code, name, raising=False)
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)

    ended = await run(ClaudeAgent(), RecordingContext())

    assert ended.error.code == "provider_not_installed"
    assert "moorage[claude]" in str(ended.error)
