from __future__ import annotations

import json

import pytest


@pytest.fixture
def used(moorage):
    """Three sessions with one run that recorded its usage, one that failed."""

    async def agent(request, context):
        if request.input == "fail":
            raise ValueError("no luck")
        usage = {"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.25}
        await context.emit("token_usage_updated", usage)
        return {"content": f"Answer to {request.input}", "model": "m-1"}

    async def work(supervisor):
        for name in ("a", "b", "c"):
            session = await supervisor.session(name, tags={"team": name * 2})
            await session.execute(f"question of {name}", key=f"key-{name}")
        await session.execute("fail")

    moorage.fill(work, agent)
    return moorage


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--order", "id"], ["a", "b", "c"]),
        (["--order", "created"], ["c", "b", "a"]),
        (["--state", "open", "--limit", "2"], ["c", "b"]),
        (["--state", "closed"], []),
        (["--text", "OF B"], ["b"]),
    ],
)
def test_sessions_are_searched(used, options, ids):
    assert [info["id"] for info in used.json("sessions", *options)] == ids


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (["sessions", "--order", "id"], "id"),
        (["runs"], "run_id"),
        (["runs", "--order", "session"], "run_id"),
        (["runs", "c"], "run_id"),
    ],
)
def test_a_list_goes_on_where_it_was_cut(used, command, key):
    whole = [item[key] for item in used.json(*command)]
    parts = []
    cursor = []
    while True:
        shown = used(*command, "--limit", "1", *cursor, "--json")
        parts += [item[key] for item in json.loads(shown.stdout)]
        if not shown.stderr:
            break
        cursor = ["--cursor", json.loads(shown.stderr)["next_cursor"]]

    assert parts == whole
    assert len(whole) >= 2


def test_a_cut_list_says_how_it_goes_on(used):
    assert "more than --limit 1: go on with --cursor " in used("runs", "--limit", "1").stderr


def test_a_cursor_of_another_list_is_refused_in_one_line(used):
    cursor = json.loads(used("runs", "--limit", "1", "--json").stderr)["next_cursor"]
    refused = used("runs", "--state", "failed", "--cursor", cursor, code=1)

    assert "other filters" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_table_of_runs_shows_what_became_of_them(used):
    table = used("runs").stdout.splitlines()

    assert table[0].split() == [
        "SESSION", "RUN", "STATE", "AGENT", "SUBMITTED", "QUEUED", "RAN", "TOKENS", "COST", "ERROR"
    ]  # fmt: skip
    assert [line.split()[0] for line in table[1:]] == ["c", "c", "b", "a"]
    assert "failed" in table[1]
    assert "12  0.2500" in table[2]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["c"], 2),
        (["--prefix", "b"], 1),
        (["--tag", "team=aa"], 1),
        (["--state", "failed"], 1),
        (["--state", "failed", "--state", "completed"], 4),
        (["--key", "key-b"], 1),
        (["--text", "Of A"], 1),
        (["--agent", "nobody"], 0),
    ],
)
def test_runs_are_narrowed(used, options, count):
    assert len(used.json("runs", *options)) == count


def test_runs_as_json_have_the_fields_of_a_run_summary(used):
    (run,) = used.json("runs", "a")

    assert (run["session_id"], run["state"], run["key"], run["model"]) == (
        "a", "completed", "key-a", "m-1"
    )  # fmt: skip
    assert run["usage"] == {"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.25}


@pytest.fixture
def parked(moorage):
    """A session with a run that waits for an answer."""

    async def agent(request, context):
        await context.park("approval")

    async def work(supervisor):
        session = await supervisor.session("a")
        await session.submit("hello")
        async with session.subscribe(types={"run_waiting"}) as events:
            await anext(events)

    moorage.fill(work, agent)
    return moorage


def test_a_run_that_waits_for_an_answer_is_shown_as_waiting(parked):
    (line,) = parked("runs", "--state", "waiting").stdout.splitlines()[1:]

    assert line.split()[2] == "waiting"
    assert parked.json("runs", "--state", "running") == []
    assert parked("usage").stdout.splitlines()[1].split()[:3] == ["a", "1", "waiting"]
    assert parked.json("usage", "--state", "waiting")["total"]["runs"] == {"waiting": 1}


def test_events_are_found_by_text(used):
    found = used.lines("search", "ANSWER TO", "--json")

    assert [(line["session_id"], line["type"]) for line in found] == [
        ("a", "run_completed"), ("b", "run_completed"), ("c", "run_completed")
    ]  # fmt: skip
    assert len(used.lines("search", "answer", "-s", "b", "--type", "run_completed", "--json")) == 1
    assert used("search", "answer").stdout.splitlines()[0].split() == [
        "SESSION", "SEQ", "TIME", "TYPE", "DATA"
    ]  # fmt: skip


def test_what_matches_nothing_is_told(used):
    assert used("search", "nowhere").stderr == "moorage: no events match\n"
    assert used("runs", "--agent", "x").stderr == "moorage: no runs match\n"
    assert used("usage", "--agent", "x").stderr == "moorage: no runs match\n"


def test_usage_is_summed_by_group_with_a_total(used):
    shown = used("usage", "--by", "tag:team")
    table = shown.stdout.splitlines()

    assert [line.split()[0] for line in table] == ["TEAM", "aa", "bb", "cc", "TOTAL"]
    assert table[-1].split()[:6] == ["TOTAL", "3", "completed,", "1", "failed", "30"]
    assert "1 of 4 started runs recorded no cost" in shown.stderr


def test_a_cost_that_nobody_told_is_no_amount(moorage):
    async def agent(request, context):
        if request.input is not None:
            await context.emit("token_usage_updated", {"input_tokens": 1, **request.input})
        return "done"

    async def work(supervisor):
        for name, used in (
            ("free", [{"cost_usd": 0}]),
            ("mixed", [{"cost_usd": 0.5}, {}]),
            ("untold", [{}, None]),
        ):
            session = await supervisor.session(name)
            for usage in used:
                await session.execute(usage)

    moorage.fill(work, agent)
    costs = [line.split()[-5] for line in moorage("usage").stdout.splitlines()[1:]]
    alone = moorage("usage", "untold").stdout.splitlines()[1:]

    assert costs == ["0.0000", "0.5000", "-", "0.5000"]
    assert [line.split()[-5] for line in alone] == ["-"]
    assert moorage.json("usage", "untold")["total"]["cost_usd"] == 0.0


def test_usage_as_json_has_the_fields_of_a_usage_summary(used):
    usage = used.json("usage", "--by", "model")

    assert (usage["by"], usage["total"]["cost_usd"]) == ("model", 0.75)
    assert [(row["group"], row["runs"]) for row in usage["rows"]] == [
        ("m-1", {"completed": 3}), (None, {"failed": 1})
    ]  # fmt: skip


def test_usage_of_one_session(used):
    assert used.json("usage", "c")["total"]["runs"] == {"completed": 1, "failed": 1}
    assert "'nobody'" in used("usage", "nobody", code=1).stderr
