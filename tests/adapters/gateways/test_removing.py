from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways import exporting
from moorage.adapters.gateways.removing import delete_session, undelete_session
from moorage.runtime import SessionChanged, UnknownSession, open_supervisor


def ids(moorage):
    return [info["id"] for info in moorage.json("sessions")]


def test_a_session_is_deleted_for_good(filled):
    result = filled("delete", "a", "--yes")

    assert (result.stdout, result.stderr) == ("", "moorage: deleted session 'a': 8 events\n")
    assert ids(filled) == ["b"]
    assert "no session 'a'" in filled("delete", "a", "--yes", code=1).stderr


def test_it_asks_first_and_says_what_would_go(filled):
    result = filled("delete", "a", input="y\n")

    assert "Delete session 'a' with 8 events (2 completed)?" in result.stderr
    assert ids(filled) == ["b"]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_anything_but_yes_deletes_nothing(filled, answer):
    assert "nothing was deleted" in filled("delete", "a", input=answer, code=1).stderr
    assert ids(filled) == ["b", "a"]


def test_other_sessions_are_not_recovered_meanwhile(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.pause()
        await session.submit("x")
        await supervisor.session("b")

    moorage.fill(work)
    before = moorage("events", "a", "--json").stdout

    moorage("delete", "b", "--yes")

    assert before == moorage("events", "a", "--json").stdout


def test_a_directory_that_another_process_owns_is_refused(moorage, owner):
    result = moorage("delete", "live", "--yes", code=1)

    assert f"process {owner.process.pid}" in result.stderr
    assert ids(moorage) == ["live"]
    owner.stop()


def events_of(moorage, id):
    return moorage("events", id, "--json").stdout


# ---- hidden, and back ----


def test_a_hidden_session_comes_back_as_it_was(filled):
    before = events_of(filled, "a")

    hidden = filled("delete", "a", "--soft", "--yes")
    assert hidden.stderr == "moorage: session 'a' is hidden; moorage undelete brings it back\n"
    assert ids(filled) == ["b"]
    assert "was deleted already" in filled("delete", "a", "--soft", "--yes").stderr
    assert "is deleted" in filled("run", "-s", "a", "-a", "scripted", "x", code=1).stderr
    assert "is back" in filled("undelete", "a").stderr
    assert "was not deleted" in filled("undelete", "a").stderr
    assert "no session 'c'" in filled("undelete", "c", code=1).stderr

    assert ids(filled) == ["a", "b"]
    assert events_of(filled, "a").startswith(before)


def test_hiding_asks_first(filled):
    result = filled("delete", "a", "--soft", input="n\n", code=1)

    assert "Hide session 'a'" in result.stderr
    assert ids(filled) == ["b", "a"]


def test_what_is_hidden_can_be_deleted_for_good(filled):
    filled("delete", "a", "--soft", "--yes")

    filled("delete", "a", "--yes")

    assert filled.json("sessions", "--deleted")[0]["id"] == "b"
    assert "no session 'a'" in filled("undelete", "a", code=1).stderr


# ---- exported first ----


def test_what_is_deleted_is_in_the_export(filled, tmp_path, moorage_at):
    before = events_of(filled, "a")
    file = tmp_path / "a.jsonl"

    result = filled("delete", "a", "--yes", "--export", str(file))

    assert "exported session 'a': 8 events" in result.stderr
    assert ids(filled) == ["b"]
    other = moorage_at(tmp_path / "other")
    other("import", str(file))
    assert events_of(other, "a") == before


def test_an_export_replaces_nothing_and_then_nothing_is_deleted(filled, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("precious")

    result = filled("delete", "a", "--yes", "--export", str(file), code=1)

    assert "is there already" in result.stderr
    assert file.read_text() == "precious"
    assert ids(filled) == ["b", "a"]


def test_a_file_that_comes_meanwhile_is_not_replaced_either(filled, tmp_path, monkeypatch):
    file = tmp_path / "a.jsonl"
    link = exporting.os.link

    def race(name, output):
        file.write_text("precious")
        link(name, output)

    monkeypatch.setattr(exporting.os, "link", race)
    result = filled("delete", "a", "--yes", "--export", str(file), code=1)

    assert "is there already" in result.stderr
    assert file.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "data"]
    assert ids(filled) == ["b", "a"]


@pytest.mark.parametrize("place", ["missing/a.jsonl", "."])
def test_an_export_needs_a_place(filled, tmp_path, place):
    result = filled("delete", "a", "--yes", "--export", str(tmp_path / place), code=1)

    assert "director" in result.stderr
    assert ids(filled) == ["b", "a"]


def test_an_export_that_fails_deletes_nothing(filled, tmp_path, monkeypatch):
    async def fail(texts, output, *, new=False):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_to_file", fail)
    result = filled("delete", "a", "--yes", "--export", str(tmp_path / "a"), code=1)

    assert "No space left" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert ids(filled) == ["b", "a"]


def test_a_session_with_unfinished_runs_is_exported_and_deleted_too(moorage, tmp_path):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.pause()
        await session.submit("x")

    moorage.fill(work)
    file = tmp_path / "a.jsonl"

    moorage("delete", "a", "--yes", "--export", str(file))

    assert ids(moorage) == []
    assert "run_submitted" in file.read_text()


def test_beside_an_owner_nothing_is_exported_or_deleted(moorage, owner, tmp_path):
    file = tmp_path / "a.jsonl"

    for arguments in (("delete", "live", "--yes", "--export", str(file)), ("undelete", "live")):
        assert f"process {owner.process.pid}" in moorage(*arguments, code=1).stderr

    assert not file.exists()
    assert ids(moorage) == ["live"]
    owner.stop()


# ---- a store that is shared ----


async def test_a_live_node_deletes_what_it_has(postgres, tmp_path):
    async with open_supervisor(postgres.store(), ScriptedAgent()) as supervisor:
        session = await supervisor.session("held")
        await session.execute("hello")

        await delete_session(postgres.store(), "held", sure=True, soft=True)
        assert [info.id async for info in supervisor.sessions()] == []
        await undelete_session(postgres.store(), "held")
        assert [info.id async for info in supervisor.sessions()] == ["held"]
        file = tmp_path / "held.jsonl"
        await delete_session(postgres.store(), "held", sure=True, export=file)

        with pytest.raises(UnknownSession):
            await session.info()
    head, *events = map(json.loads, file.read_text().splitlines())
    assert (head["last_seq"], len(events)) == (events[-1]["seq"], len(events))


async def test_what_comes_while_it_is_exported_keeps_a_session(postgres, tmp_path, monkeypatch):
    async with open_supervisor(postgres.store(), ScriptedAgent()) as supervisor:
        session = await supervisor.session("held")
        export = exporting._to_file

        async def slow(*arguments, **options):
            await export(*arguments, **options)
            await session.append("note", "late")

        monkeypatch.setattr(exporting, "_to_file", slow)
        with pytest.raises(SessionChanged):
            await delete_session(postgres.store(), "held", sure=True, export=tmp_path / "a")

        assert (await session.events())[-1].data == "late"


async def test_a_node_that_is_gone_is_no_owner(postgres):
    async with open_supervisor(postgres.store(), ScriptedAgent()) as supervisor:
        await supervisor.session("free")

    with trio.fail_after(60):
        await delete_session(postgres.store(), "free", sure=True)

    with pytest.raises(UnknownSession):
        await undelete_session(postgres.store(), "free")
