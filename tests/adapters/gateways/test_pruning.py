from __future__ import annotations

import json
import re

import pytest
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.pruning import policy_of, prune, read_policy
from moorage.runtime import (
    InvalidArgument,
    RetentionPolicy,
    RetentionRule,
    StoreFailed,
    open_supervisor,
)
from moorage.stores import PostgresStore

POLICY = """
exempt_tags = ["hold"]

[[rules]]
states = ["closed"]
older_than = 0
"""


@pytest.fixture
def stored(moorage):
    """Sessions: two closed ones, of which one failed, one on hold, an open one, a busy one."""

    async def work(supervisor):
        await (await supervisor.session("done")).close()
        await (await supervisor.session("broken")).close(outcome="failed")
        await (await supervisor.session("held", tags={"hold": "yes"})).close()
        await (await supervisor.session("open")).execute("hello")
        busy = await supervisor.session("busy")
        await busy.pause()
        await busy.submit("x")

    moorage.fill(work)
    return moorage


def ids(moorage, *more):
    return {info["id"] for info in moorage.json("sessions", *more)}


def test_what_meets_all_conditions_goes_and_work_stays(stored):
    result = stored("prune", "--older-than", "0s", "--exempt-tag", "hold", "--yes")

    assert ids(stored) == {"held", "busy"}
    assert "deleted 3 sessions and freed" in result.stderr
    assert ", of 5 sessions" in result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines["done"].split()[1] == "delete"
    assert "1 queued" in lines["busy"]
    assert "exempt by its tag hold" in lines["held"]


def timeless(entries):
    """Sorted, without how long ago each has changed, which goes on."""
    return sorted(re.sub(r"[\d.]+ \w+ ago", "", str(entry)) for entry in entries)


def test_a_dry_run_shows_it_and_changes_nothing(stored):
    arguments = ("prune", "--older-than", "0", "--state", "closed", "--exempt-tag", "hold=yes")

    said = stored.json(*arguments, "--dry-run")
    assert len(ids(stored)) == 5
    done = stored.json(*arguments, "--yes")

    assert (said.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert said["entries"]
    assert timeless(said.pop("entries")) == timeless(done.pop("entries"))
    assert said["freed_bytes"] > 0
    assert [spared["session_id"] for spared in said["spared"]] == ["held"]
    assert timeless(said.pop("spared")) == timeless(done.pop("spared"))
    assert said == done
    assert ids(stored) == {"held", "open", "busy"}


def test_it_asks_first_and_anything_but_yes_deletes_nothing(stored):
    arguments = ("prune", "--closed-for", "0s")

    result = stored(*arguments, input="\n", code=1)
    assert "This would delete 3 sessions and free" in result.stderr
    assert len(ids(stored)) == 5

    stored(*arguments, input="y\n")
    assert ids(stored) == {"open", "busy"}


def test_where_nothing_would_go_nobody_is_asked(stored):
    assert "deleted nothing" in stored("prune", "--older-than", "30d").stderr


def test_the_newest_are_kept_by_group(moorage):
    async def work(supervisor):
        for n in range(6):
            await supervisor.session(f"s{n}", tags={"tenant": "xy"[n % 2]})

    moorage.fill(work)

    moorage("prune", "--keep", "1", "--group-by-tag", "tenant", "--yes")

    assert ids(moorage) == {"s4", "s5"}


def test_sizes_have_a_limit(moorage):
    async def work(supervisor):
        for n in range(4):
            await (await supervisor.session(f"s{n}")).append("note", b"x" * 1_000)

    moorage.fill(work)

    moorage("prune", "--max-bytes", "2.5kB", "--yes")

    assert ids(moorage) == {"s2", "s3"}


def test_hidden_sessions_are_purged_later(stored):
    stored("prune", "--older-than", "0s", "--state", "failed", "--soft", "--yes")
    assert ids(stored) == {"done", "held", "open", "busy"}
    assert "broken" in ids(stored, "--deleted")
    stored("undelete", "broken")
    stored("delete", "broken", "--soft", "--yes")

    stored("prune", "--purge-after", "1h", "--yes")
    assert "broken" in ids(stored, "--deleted")
    stored("prune", "--purge-after", "0s", "--yes")

    assert "broken" not in ids(stored, "--deleted")


def test_events_are_trimmed(stored):
    before = stored.lines("events", "open", "--json")

    result = stored("prune", "--keep-events", "2", "--prefix", "open", "--yes")

    assert stored.lines("events", "open", "--json") == before[-2:]
    assert "trimmed 1 session and freed" in result.stderr
    stored("run", "-s", "open", "-a", "scripted", "again", "--recover-others")


def test_what_has_expired_by_itself_goes_without_being_asked_for(moorage):
    async def work(supervisor):
        await supervisor.session("over", expire_after_seconds=0)
        await supervisor.session("other")

    moorage.fill(work)

    moorage("prune", "--yes")

    assert ids(moorage) == {"other"}


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_policy_is_read_from_a_file(stored, tmp_path, kind):
    file = tmp_path / f"policy.{kind}"
    data = {"exempt_tags": ["hold"], "rules": [{"states": ["closed"], "older_than": 0}]}
    file.write_text(POLICY if kind == "toml" else json.dumps(data))

    stored("prune", "--policy", str(file), "--yes")

    assert ids(stored) == {"held", "open", "busy"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--older-than", "soon"), "90m, 12h, 30d"),
        (("--max-bytes", "much"), "500MB"),
        (("--state", "closed"), "older_than_seconds=0"),
        (("--state", "dead", "--keep", "1"), "dead"),
        (("--tag", "x", "--keep", "1"), "NAME=VALUE"),
        (("--policy", "missing.toml"), "missing.toml"),
    ],
)
def test_what_cannot_be_understood_deletes_nothing(stored, arguments, why):
    assert why in " ".join(stored("prune", *arguments, "--yes", code=2).stderr.split())
    assert len(ids(stored)) == 5


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("p.toml", b"rules = [", "no TOML"),
        ("p.json", b"{", "no JSON"),
        ("p.json", b"[]", "names with values"),
        ("p.toml", b"\xff", "no TOML"),
        ("p.toml", b"#" * (1024 * 1024 + 1), "bytes"),
    ],
)
def test_files_that_are_no_policy_are_refused(tmp_path, name, content, why):
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(InvalidArgument, match=why):
        read_policy(file)


def test_the_command_line_adds_to_the_file():
    policy = policy_of(
        {"rules": [{"keep_newest": 9}], "exempt_tags": ["a"], "purge_after": "1d"},
        covers={"prefix": "job-", "tags": {}, "states": None},
        conditions={"older_than": "1h", "keep_newest": 0, "bytes_max": None},
        trims={"events_keep_last": 5},
        soft=True,
        exempt_tags=["b"],
        purge_after="2d",
    )

    assert policy == RetentionPolicy(
        rules=[
            RetentionRule(keep_newest=9),
            RetentionRule(
                action="soft_delete", prefix="job-", older_than_seconds=3_600.0, keep_newest=0
            ),
            RetentionRule(action="trim", prefix="job-", events_keep_last=5),
        ],
        exempt_tags=["a", "b"],
        on_expiry="soft_delete",
        purge_after_seconds=172_800.0,
    )


def test_beside_an_owner_only_a_dry_run_works(moorage, owner):
    arguments = ("prune", "--older-than", "0s")

    said = moorage.json(*arguments, "--dry-run")
    refused = moorage(*arguments, "--yes", code=1)

    assert [entry["session_id"] for entry in said["entries"]] == ["live"]
    assert f"process {owner.process.pid}" in refused.stderr
    assert ids(moorage) == {"live"}
    owner.stop()


async def test_beside_live_nodes_what_they_have_is_left_to_them(postgres, capsys):
    policy = RetentionPolicy(rules=[RetentionRule(older_than_seconds=0)])
    async with open_supervisor(postgres.store(), ScriptedAgent()) as supervisor:
        await supervisor.session("free")
    async with open_supervisor(postgres.store(), ScriptedAgent()) as supervisor:
        await supervisor.session("held")

        code = await prune(postgres.store(), policy, dry_run=False, sure=True, as_json=True)

        assert code == 0
        assert [info.id async for info in supervisor.sessions()] == ["held"]
        assert (await supervisor.handle("held").execute("hello")).output is not None
    out = capsys.readouterr().out
    report = json.loads(out[out.index("{") :])
    assert report["deleted"] == 1
    assert "its owner" in report["spared"][0]["reason"]


async def test_a_session_that_cannot_be_deleted_makes_it_fail(postgres, capsys, monkeypatch):
    async def fail(self, claim):
        raise StoreFailed("no space left on device", written=False)

    async with open_supervisor(postgres.store(), ScriptedAgent()) as supervisor:
        await supervisor.session("s")
    monkeypatch.setattr(PostgresStore, "delete", fail)
    policy = RetentionPolicy(rules=[RetentionRule(older_than_seconds=0)])

    code = await prune(postgres.store(), policy, dry_run=False, sure=True, as_json=False)

    assert code == 1
    assert "no space left" in capsys.readouterr().out
