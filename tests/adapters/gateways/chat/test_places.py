from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.chat import places
from moorage.adapters.gateways.chat.places import (
    DIRECTORY_BYTES_MAX,
    DIRECTORY_TAG,
    directory_tag,
    find_session,
    here,
    list_here,
    resume_command,
)
from moorage.adapters.gateways.chosen_store import StoreChoice
from moorage.adapters.gateways.frame import CommandFailed
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore


def test_a_directory_of_usual_length_is_its_own_tag():
    assert directory_tag("/projects/räder") == "/projects/räder"


@pytest.mark.parametrize(
    "path", ["/" + "deep/" * 100, "/" + "ä" * 300, "/line\nbreak", "/not\udcffutf8"]
)
def test_any_other_is_bounded_and_can_be_a_tag_and_told_from_those_like_it(path):
    tag = directory_tag(path)

    assert len(tag.encode()) <= DIRECTORY_BYTES_MAX
    assert tag.isprintable()
    assert tag != directory_tag(path.replace("/", "/x", 1))


def test_a_working_directory_that_is_gone_is_told(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(CommandFailed, match="working directory cannot be told"):
        here()


async def test_of_a_directory_it_is_the_session_that_changed_last_and_is_open(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    store = JournalStore(tmp_path / "data")
    async with open_supervisor(store, ScriptedAgent()) as supervisor:
        for id in ("first", "second", "closed"):
            await supervisor.session(id, tags={DIRECTORY_TAG: here()})
        await supervisor.session("elsewhere", tags={DIRECTORY_TAG: "/other"})
        await supervisor.handle("first").append("note", {})
        await supervisor.handle("closed").close()
        await supervisor.session("firs")

        listed = await list_here(supervisor)

    found = await find_session(store, None)
    assert found is not None
    assert found.id == "first"
    assert [info.id for info in listed] == ["first", "second"]
    by_id = [await find_session(store, id) for id in ("closed", "firs", "fir")]
    assert [info and info.id for info in by_id] == ["closed", "firs", None]


async def test_a_listing_has_an_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "LISTED_MAX", 2)
    async with open_supervisor(JournalStore(tmp_path / "data"), ScriptedAgent()) as supervisor:
        for id in ("a", "b", "c"):
            await supervisor.session(id, tags={DIRECTORY_TAG: here()})

        listed = await list_here(supervisor)

    assert [info.id for info in listed] == ["c", "b"]


@pytest.mark.parametrize("exists", [False, True])
async def test_where_there_is_no_journal_there_is_no_session(tmp_path, exists):
    data = tmp_path / "data"
    if exists:
        data.mkdir()

    assert await find_session(JournalStore(data), None) is None
    assert await find_session(JournalStore(data), "a") is None


def test_the_way_back_can_be_typed_anywhere():
    command = resume_command(StoreChoice(Path("my data")), "it's mine")

    data = str(Path("my data").absolute())
    assert shlex.split(command) == ["moorage", "chat", "--data", data, "--session", "it's mine"]
