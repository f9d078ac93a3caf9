from __future__ import annotations

import pytest
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Park
from moorage.adapters.gateways.listing import describe_runs


def test_sessions_are_listed_the_newest_change_first(filled):
    table = filled("sessions").stdout.splitlines()

    assert table[0].split() == ["SESSION", "STATE", "RUNS", "EVENTS", "CHANGED", "TAGS", "SUMMARY"]
    assert [line.split()[0] for line in table[1:]] == ["b", "a"]
    assert "2 completed" in table[2]
    assert "team=x" in table[2]
    assert table[2].endswith("hello")


def test_sessions_as_json_have_the_fields_of_session_info(filled):
    _, info = filled.json("sessions")

    assert {name: value for name, value in info.items() if not name.endswith("_at_ns")} == {
        "id": "a",
        "state": "open",
        "tags": {"team": "x"},
        "metadata": {"n": 1},
        "head_seq": 8,
        "runs": {"completed": 2},
        "slots": 2,
        "summary": "hello",
        "outcome": None,
        "reason": None,
        "timed_waits": 0,
        "expire_after_seconds": None,
        "node_tags": {},
        "agents": [],
    }
    assert info["created_at_ns"] <= info["modified_at_ns"]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--prefix", "a"], ["a"]),
        (["--tag", "team=x"], ["a"]),
        (["--tag", "team=y"], []),
        (["--limit", "1"], ["b"]),
        (["--prefix", "zzz"], []),
    ],
)
def test_sessions_can_be_narrowed(filled, options, ids):
    assert ids == [info["id"] for info in filled.json("sessions", *options)]


def test_a_limit_that_cuts_and_an_empty_list_are_told_apart_from_data(filled):
    assert "more than --limit 1" in filled("sessions", "--limit", "1").stderr
    nothing = filled("sessions", "--prefix", "zzz")
    assert (nothing.stdout, nothing.stderr) == ("", "moorage: no sessions match\n")


def test_status_names_the_runs_where_they_are(moorage):
    async def work(supervisor):
        session = await supervisor.session("a", tags={"k": "v"}, metadata={"m": 1})
        run = await session.submit("x")
        while await run.status() != "waiting":
            await session.events(after=(await session.info()).head_seq, wait_seconds=1)
        await session.pause()
        return run.id, (await session.submit("y")).id

    waiting, queued = moorage.fill(work, ScriptedAgent([Park("approval")]))

    text = moorage("status", "a").stdout
    status = moorage.json("status", "a")

    assert ("paused", [], [queued], [waiting]) == (
        status["state"],
        status["running"],
        status["queued"],
        status["waiting"],
    )
    assert status["info"]["tags"] == {"k": "v"}
    assert f"queued    {queued}" in text
    assert f"waiting   {waiting}" in text
    assert "tag       k=v" in text


def test_status_tells_how_a_session_was_closed(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.close(outcome="failed", reason="enough")

    moorage.fill(work)

    assert "outcome  failed: enough" in moorage("status", "a").stdout


def test_an_unknown_session_is_refused(filled):
    assert "there is no session 'zzz'" in filled("status", "zzz", code=1).stderr


def test_counts_of_runs_begin_with_what_is_unfinished():
    counts = {"completed": 3, "queued": 2, "timed_out": 1, "running": 1, "failed": 0}

    assert describe_runs(counts) == "1 running, 2 queued, 3 completed, 1 timed out"


def test_hidden_sessions_are_shown_on_request(filled):
    filled("delete", "a", "--soft", "--yes")

    assert [info["id"] for info in filled.json("sessions")] == ["b"]
    assert [info["id"] for info in filled.json("sessions", "--deleted")] == ["a", "b"]
    assert "deleted" in filled("sessions", "--deleted").stdout.splitlines()[1].split()
    shown = filled("status", "a").stdout
    assert "undelete brings it back" in shown
    assert ["state", "deleted"] in [line.split() for line in shown.splitlines()]


def test_a_status_says_when_a_session_expires(moorage):
    async def work(supervisor):
        await supervisor.session("soon", expire_after_seconds=90)
        await supervisor.session("never", expire_after_seconds="never")

    moorage.fill(work)

    assert "90 s after its last change" in moorage("status", "soon").stdout
    assert "expires  never" in moorage("status", "never").stdout
    by_id = {info["id"]: info for info in moorage.json("sessions")}
    assert by_id["soon"]["expire_after_seconds"] == 90
