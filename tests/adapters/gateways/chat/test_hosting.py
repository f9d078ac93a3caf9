from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Park
from moorage.adapters.gateways.chat.places import DIRECTORY_TAG
from moorage.adapters.gateways.store_spec import without_password
from moorage.runtime import open_reader
from moorage.stores import JournalStore

from tests.adapters.gateways.served import served
from tests.adapters.gateways.test_unfinished import left

PASSWORD = "open sesame"

if TYPE_CHECKING:
    from moorage.runtime import SessionInfo

    from tests.adapters.gateways.chat.conftest import Chats


def sessions(chats: Chats) -> list[SessionInfo]:
    async def read() -> list[SessionInfo]:
        async with open_reader(JournalStore(chats.directory / "data")) as reader:
            return [info async for info in reader.sessions()]

    return trio.run(read)


def test_a_journal_in_use_says_by_whom(chats):
    first = chats("--agent", "scripted")
    first.expect("you> ")

    done = chats.piped("--agent", "scripted", input="hello", code=1)

    (line,) = done.stderr.splitlines()
    assert f"the journal in '{chats.directory / 'data'}' is in use by" in line
    assert f"process {first.process.pid}" in line
    assert "name another --data" in line


def test_a_session_belongs_to_its_directory_and_knows_its_agent(chats):
    chats.piped("--agent", "scripted", input="hello")

    (session,) = sessions(chats)
    assert session.tags == {DIRECTORY_TAG: str(chats.directory)}
    assert session.metadata == {"chat.agent": "scripted"}


def test_where_nothing_was_said_nothing_is_left(chats):
    done = chats.piped("--agent", "scripted", input="/status\n")

    assert "nothing was said" in done.stderr
    assert sessions(chats) == []


def test_a_session_that_was_named_stays(chats):
    done = chats.piped("--agent", "scripted", "--session", "mine", input="\n")

    assert "go on with: moorage chat --data" in done.stderr
    assert [session.id for session in sessions(chats)] == ["mine"]


def test_to_continue_nothing_names_the_way_to_sessions_of_other_directories(chats, moorage):
    nothing = chats.piped("--agent", "scripted", "--continue", code=1)
    moorage.data = chats.directory / "data"
    moorage.fill(lambda supervisor: supervisor.session("theirs"))
    others = chats.piped("--agent", "scripted", "--continue", code=1)

    assert "--session ID" not in nothing.stderr
    assert "begin one, say --session ID for one of another directory, or name" in others.stderr


def test_a_session_of_other_programs_keeps_its_tags(chats, moorage):
    async def work(supervisor):
        await supervisor.session("theirs", tags={"team": "x"}, metadata={"n": 1})

    moorage.data = chats.directory / "data"
    moorage.fill(work, ScriptedAgent())

    chats.piped("--agent", "scripted", "-s", "theirs", input="hello")

    (session,) = sessions(chats)
    assert session.tags == {"team": "x", DIRECTORY_TAG: str(chats.directory)}
    assert session.metadata == {"n": 1, "chat.agent": "scripted"}


def test_what_another_session_was_interrupted_in_is_no_reason_to_refuse(chats):
    left(chats.directory / "data", "fail", "one")

    done = chats.piped("--agent", "scripted", input="hello")

    assert "You said: hello" in done.stdout
    assert {"interrupted": 1} in [session.runs for session in sessions(chats)]


def test_runs_of_another_session_that_would_start_here_are(chats):
    left(chats.directory / "data", "requeue", "one")

    refused = chats.piped("--agent", "scripted", input="hello", code=1)
    done = chats.piped("--agent", "scripted", "--recover-others", input="hello")

    assert "which this agent would finish too: 'left'; --recover-others" in refused.stderr
    assert "1 other session has unfinished runs, which go on too: 'left'" in done.stderr
    assert "You said: hello" in done.stdout


def test_a_run_that_waits_for_somebody_is_no_reason_to_refuse(chats, moorage):
    async def work(supervisor):
        session = await supervisor.session("waiting")
        await session.submit("x")
        async with session.subscribe(types={"run_waiting"}) as events:
            async for _ in events:
                return

    moorage.data = chats.directory / "data"
    moorage.fill(work, ScriptedAgent([Park("approval")]))

    assert "You said: hello" in chats.piped("--agent", "scripted", input="hello").stdout


def test_a_model_that_is_given_beats_the_one_that_is_remembered(chats):
    chats.piped("--agent", "scripted", "--model", "one", input="x")
    chats.piped("--continue", "--model", "two", input="x")

    (session,) = sessions(chats)
    assert session.metadata == {"chat.agent": "scripted", "chat.model": "two"}


def test_leaving_waits_for_nothing_that_still_runs(chats):
    terminal = chats("--agent", "paced:agent", "slow one")
    terminal.expect("You ")

    terminal.type("/quit\n")

    terminal.end()
    (session,) = sessions(chats)
    assert session.runs == {"interrupted": 1}


def test_a_conversation_goes_on_in_every_store_and_no_password_is_shown(chats, store_spec):
    chats.where = ["--store", store_spec]

    begun = chats.piped("--agent", "scripted", "-s", "talk", "hello")
    again = chats.piped("--continue", "once more")

    assert "You said: hello" in begun.stdout
    assert "You said: once more" in again.stdout
    assert PASSWORD not in begun.stderr + again.stderr
    shown = without_password(store_spec)
    assert f"go on with: {shlex.join(['moorage', 'chat', '--store', shown])}" in again.stderr
    assert ("***" in again.stderr) == (PASSWORD in store_spec)


@pytest.fixture
def at_server(chats, monkeypatch):
    """Chats at a server whose agent is the scripted one, paced."""
    pytest.importorskip("starlette")
    with served(chats.directory, "paced:agent") as server:
        monkeypatch.setenv("MOORAGE_TOKEN", server.token)
        chats.where = ["--url", server.url]
        yield chats


def test_a_conversation_at_a_server_is_that_of_a_store(at_server):
    said, logs = [], []
    chats, at = at_server, at_server.where
    for where, agent in (
        (["--data", str(chats.directory / "data")], ["--agent", "paced:agent"]),
        (at, []),
    ):
        chats.where = where
        log = chats.directory / f"{where[0]}.jsonl"
        done = chats.piped(
            *agent, "-s", "mine", "--log", str(log), input="hello\nthink of it\n/label here\n"
        )
        again = chats.piped(*agent, "-s", "mine", input="/labels\n/history\n")
        # a store's session knows its agent by an event more
        said.append(re.sub(r"\d+\.\d+ s|at \d+", "~", done.stdout + again.stdout))
        types = [json.loads(line)["type"] for line in log.read_text().splitlines()]
        logs.append([type for type in types if type != "session_configured"])

    assert said[0] == said[1]
    assert logs[0] == logs[1]
    assert "I am asked for 3 words" in said[0]
    assert f"go on with: {shlex.join(['moorage', 'chat', *at])}" in again.stderr


def test_what_was_said_at_a_server_goes_on_when_one_leaves(at_server):
    terminal = at_server()
    terminal.enter("please approve it")
    terminal.expect("y, n, or why not: ")
    terminal.type("\x04")
    terminal.end()
    again = at_server("--continue")
    again.expect("> please approve it")
    again.expect("y, n, or why not: ")
    again.type("y\n")
    again.expect("I counted 3 words. You said: please approve it\n(")
    again.enter("slow one")
    again.expect("You ")
    again.press_ctrl_c()
    again.expect("cancelled: cancelled with Ctrl-C")
    again.enter("/quit")

    assert "go on with: moorage chat --url" in again.end()


def test_where_nothing_was_said_at_a_server_nothing_is_left(at_server):
    done = at_server.piped(input="/status\n")
    nobody = at_server.piped("--continue", code=1)
    refused = at_server.piped("--recover-others", code=2)

    assert "nothing was said" in done.stderr
    assert "name another --url" in nobody.stderr
    assert "--recover-others" in refused.stderr
