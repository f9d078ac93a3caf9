"""A word to a server about its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from moorage.adapters.gateways import run_commands
from moorage.adapters.gateways.frame import CommandFailed
from moorage.adapters.gateways.http_client import connect

from tests.adapters.gateways.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("starlette")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), "scripted") as server:
        yield server


@pytest.fixture
def at_server(moorage, server, monkeypatch):
    """The command line, which the environment tells of the server."""
    monkeypatch.setenv("MOORAGE_TOKEN", server.token)
    moorage.environment = {"MOORAGE_URL": server.url}
    return moorage


def at(server, work):
    """What ``work`` returns, given a client of the server."""

    async def main():
        async with connect(server.url, token=server.token) as client:
            return await work(client)

    return trio.run(main)


def asked(server, session_id):
    """The request of a new run, which waits for a word about it."""

    async def work(client):
        session = await client.session(session_id)
        run = await session.submit("please approve it")
        (event,) = await session.events(
            types={"tool_approval_requested"}, run_id=run.id, wait_seconds=60
        )
        return run.id, event.data["request_id"]

    return at(server, work)


def outcome(server, session_id, run_id):
    return at(server, lambda client: client.handle(session_id).wait(run_id, timeout_seconds=60))


def test_a_tool_call_is_approved_once(at_server, server):
    run_id, request_id = asked(server, "a")

    done = at_server("approve", "a", request_id, "--reason", "it is only counting")
    again = at_server("approve", "a", request_id, code=1)

    assert "is approved" in done.stderr
    assert "nobody waits for" in again.stderr
    assert "I counted" in outcome(server, "a", run_id).output["content"]
    (granted,) = at_server.lines("events", "a", "--type", "tool_approval_granted", "--json")
    assert granted["data"]["by"] == "me"
    assert at_server.lines("search", "it is only counting", "-s", "a", "--json")


def test_a_tool_call_is_denied_with_a_reason(at_server, server):
    run_id, request_id = asked(server, "b")

    done = at_server("deny", "b", request_id, "--reason", "not today", "--by", "somebody else")

    assert "is denied" in done.stderr
    assert "not today" in outcome(server, "b", run_id).output["content"]


def test_a_run_is_cancelled_once(at_server, server):
    run_id, _ = asked(server, "c")

    done = at_server("cancel", "c", run_id, "--reason", "enough")
    again = at_server("cancel", "c", run_id, code=1)
    unknown = at_server("cancel", "c", "run_none", code=1)
    nobody = at_server("cancel", "nobody", run_id, code=1)

    assert "is cancelled" in done.stderr
    assert "has ended already" in again.stderr
    assert "run_none" in unknown.stderr
    assert "nobody" in nobody.stderr
    assert outcome(server, "c", run_id).error.message == "enough"


def test_without_a_server_they_say_what_names_one(moorage):
    for command in (("cancel", "s", "r"), ("approve", "s", "r"), ("deny", "s", "r")):
        assert "MOORAGE_URL" in moorage(*command, code=2).stderr


def test_the_status_says_what_a_run_waits_for_and_what_answers(at_server, server):
    run_id, request_id = asked(server, "d")
    told = at_server("status", "d").stdout
    command = f"approve d {request_id} --url {server.url}"

    assert f"asks for approval of count_words: moorage {command}" in " ".join(told.split())
    at_server(*command.split())
    outcome(server, "d", run_id)
    assert "asks for" not in at_server("status", "d").stdout


def test_a_run_at_a_server_says_what_answers_it_while_it_waits(at_server, server, start):
    process = start(
        "-m", "moorage.adapters.gateways", "run", "-s", "f", "--url", server.url, "-q",
        "please approve it",
    )  # fmt: skip

    asks, _, command = process.stderr.readline().partition(", and waits: moorage ")
    at_server(*command.split())
    shown, rest = process.communicate()

    assert asks.endswith("asks for approval of count_words")
    assert "completed" in shown
    assert (rest, process.returncode) == ("", 0)


def test_the_end_of_a_runs_id_will_do_if_there_is_one(at_server, server):
    run_id, request_id = asked(server, "e")
    suffix = run_id[-6:]

    approved = at_server("approve", "e", f"{suffix}:{request_id.partition(':')[2]}")
    outcome(server, "e", run_id)
    other_id, _ = asked(server, "e")
    cancelled = at_server("cancel", "e", other_id[-6:])

    assert repr(request_id) in approved.stderr
    assert cancelled.stderr == f"moorage: run {other_id!r} is cancelled\n"


class Busy:
    def __init__(self, *runs):
        self.running, self.queued, self.waiting = runs, (), ()

    async def status(self):
        return self


def test_which_run_is_meant_has_to_be_clear():
    session = Busy("run_0abcd", "run_1abcd", "abcd", "run_2efgh")

    def full(typed):
        return trio.run(run_commands._full_run_id, session, typed)

    assert [full(typed) for typed in ("abcd", "efgh", "fgh", "none")] == [
        "abcd",
        "run_2efgh",
        "fgh",
        "none",
    ]
    with pytest.raises(CommandFailed, match="several runs end in 'bcde': run_0abcde, run_1abcde"):
        session.running = ("run_0abcde", "run_1abcde")
        full("bcde")
