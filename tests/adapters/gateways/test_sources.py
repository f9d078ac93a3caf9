"""A command says the same of a store and of the server that has it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import trio
import typer.main
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.command_line import app
from moorage.adapters.gateways.nodes_listing import show_nodes
from moorage.adapters.gateways.remote import Server
from moorage.adapters.gateways.sources import RemoteReader, reading, reading_log
from moorage.runtime import Reader, open_supervisor
from moorage.stores import JournalStore, MemoryStore

from tests.adapters.gateways.http_client.both_loops import listening
from tests.adapters.gateways.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("starlette")

LOOKS: dict[str, list[list[str]]] = {
    "sessions": [
        [],
        ["--json"],
        ["--deleted", "--prefix", "a"],
        ["--tag", "team=x,y", "--json"],
        ["--state", "closed"],
        ["--order", "id", "--limit", "2", "--json"],
        ["--text", "HELLO"],
        ["--prefix", "nobody"],
        ["--cursor", "nonsense"],
    ],
    "status": [["a"], ["a", "--json"], ["gone"], ["nobody"]],
    "events": [
        ["a"],
        ["a", "--json"],
        ["a", "--format", "verbose", "--after", "3"],
        ["a", "--last", "2"],
        ["a", "--type", "note", "--json"],
        ["a", "--run", "run_nobody"],
        ["a", "--after", "99"],
        ["trimmed", "--json"],
        ["trimmed", "--after", "1"],
        ["closed", "--follow", "--json"],
        ["nobody"],
    ],
    "runs": [
        [],
        ["a", "--json"],
        ["--state", "failed"],
        ["--key", "first", "--json"],
        ["--limit", "1", "--json"],
        ["--tag", "team=x,y", "--order", "session", "--text", "hello"],
        ["--agent", "nobody"],
        ["nobody"],
    ],
    "search": [["hello"], ["hello", "--json"], ["hello", "-s", "a", "--type", "note"], ["%"]],
    "usage": [[], ["--by", "day"], ["--by", "tag:team", "--json"], ["a"], ["--by", "colour"]],
    "export": [["a"], ["a", "--format", "messages"], ["gone"], ["nobody"]],
}
"""Command -> what it is asked for, with nobody changing anything meanwhile."""

OF_SERVERS = {"attach", "cancel", "approve", "deny", "chat"}
"""There is nothing of a store to compare them with; of conversations that is done elsewhere."""

OF_SHARED_STORES = {"nodes"}
"""Compared below: a journal has one process at a time."""

CHANGES: dict[str, list[list[str]]] = {
    "delete": [
        ["closed", "--soft"],
        ["a", "--yes", "--soft"],
        ["a", "--yes", "--soft"],
        ["b", "--yes"],
        ["b", "--yes"],
        ["nobody"],
    ],
    "undelete": [["gone"], ["gone"], ["nobody"]],
    "run": [
        ["-s", "a", '{"x": 1}'],
        ["-s", "a", "--json", "one", "two", "three"],
        ["-s", "new", "--slots", "2", "--format", "jsonl", "four"],
        ["-s", "a", "--quiet", "five"],
        ["-s", "closed", "six"],
    ],
}
"""Command -> what it is told to do, one after the other, in two stores that are alike."""


async def fill(data: Path) -> None:
    async with open_supervisor(JournalStore(data), ScriptedAgent()) as supervisor:
        session = await supervisor.session("a", slots=2, tags={"team": "x,y"}, metadata={"n": 1})
        await session.execute("hello", key="first")
        await session.append("note", {"b": b"\0\xff", "f": float("nan"), "$k": 1, "t": "Hello"})
        await session.execute({"x": 1})
        await supervisor.session("b", expire_after_seconds="never")
        closed = await supervisor.session("closed", node_tags={})
        await closed.execute("hello there")
        await closed.close(reason="done")
        trimmed = await supervisor.session("trimmed")
        await trimmed.execute("x")
        await trimmed.append("note", {})
        await trimmed.trim(before=3)
        await supervisor.session("gone")
        await supervisor.delete_session("gone", soft=True, reason="why")


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Served]]:
    """A journal, and the server that has it."""
    directory = tmp_path_factory.mktemp("looked-at")
    trio.run(fill, directory / "served")
    with served(directory) as server:
        yield directory / "served", server


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[tuple[Path, Served]]:
    """A journal that nobody has open, and the server of one like it."""
    trio.run(fill, tmp_path / "local")
    trio.run(fill, tmp_path / "served")
    with served(tmp_path) as server:
        yield tmp_path / "local", server


@pytest.fixture
def both(moorage_at, monkeypatch):
    """What a command says at a store, and at a server: output, notes, exit code."""

    def said(moorage: Any, *arguments: str) -> tuple[str, str, int]:
        from typer.testing import CliRunner

        result = CliRunner().invoke(app, list(arguments), input="no\n", env=moorage.environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout, result.stderr, result.exit_code

    def both(place: tuple[Path, Served], *arguments: str, local: list[str] | None = None) -> Any:
        data, server = place
        monkeypatch.setenv("MOORAGE_TOKEN", server.token)
        moorage = moorage_at(data)
        here = said(moorage, *arguments, *(local or []))
        return here, said(moorage, *arguments, "--url", server.url)

    return both


def with_url() -> set[str]:
    commands: Any = typer.main.get_command(app)
    return {
        name
        for name, command in commands.commands.items()
        if any("--url" in parameter.opts for parameter in command.params)
    }


def test_every_command_that_takes_a_url_is_compared():
    assert with_url() - OF_SERVERS - OF_SHARED_STORES == {*LOOKS, *CHANGES}


@pytest.mark.parametrize(
    "arguments",
    [[name, *one] for name, cases in LOOKS.items() for one in cases],
    ids=" ".join,
)
def test_what_is_looked_at_is_the_same(both, looked_at, arguments):
    here, there = both(looked_at, *arguments)

    assert here == there
    assert here[0] or here[1]


# ids of runs and times are those of the moment, and a line is as wide as they let it be
_MOMENTS = re.compile(
    r"run_[0-9a-f]{32}|\b[0-9a-f]{6}\b|\d{19}|\d\d:\d\d:\d\d\.\d+|\b\d+\.\d\d\b| +|─+"
)
# what a client submits can be sent again, and so has a key
_LEFT_OUT = re.compile(r"\d{4}-\d\d-\d\d.|,\"key\":\"call_[0-9a-f]{32}\"")


def timeless(said: tuple[str, str, int]) -> Any:
    return *(_MOMENTS.sub("~", _LEFT_OUT.sub("", text)) for text in said[:2]), said[2]


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_done_is_the_same(both, changed, name):
    for arguments in CHANGES[name]:
        local = ["--agent", "echo"] if name == "run" else []
        here, there = both(changed, name, *arguments, local=local)

        assert timeless(here) == timeless(there), arguments
    after = [timeless(one) for one in both(changed, "sessions", "--deleted", "--order", "id")]
    assert after[0] == after[1]


def test_an_export_of_a_server_can_be_imported_and_precedes_a_deletion(
    both, changed, moorage, tmp_path
):
    (here, *_), (there, *_) = both(changed, "export", "a")
    deleted = moorage(
        "delete", "a", "--yes", "--export", str(tmp_path / "a.jsonl"), "--url", changed[1].url
    )
    moorage("import", str(tmp_path / "a.jsonl"))

    assert here.count("\n") == there.count("\n")
    assert (tmp_path / "a.jsonl").read_text() == there
    assert moorage("export", "a").stdout.splitlines()[1:] == there.splitlines()[1:]
    assert "exported session 'a'" in deleted.stderr
    assert "no session 'a'" in moorage("status", "a", "--url", changed[1].url, code=1).stderr


def test_what_was_trimmed_is_exported_where_its_store_is(both, looked_at):
    (here, _, code), (there, why, refused) = both(looked_at, "export", "trimmed")

    assert (code, refused) == (0, 1)
    assert here
    assert not there
    assert "not given over HTTP" in why


def test_a_server_names_its_agents_and_recovers_its_own_runs(both, moorage, changed):
    _, (_, why, code) = both(changed, "run", "-s", "a", "--agent", "nobody", "x")
    refused = moorage(
        "run", "-s", "a", "--recover-others", "x", "--url", changed[1].url, code=2
    ).stderr

    assert (code, "nobody" in why) == (1, True)
    assert "--recover-others" in refused


def test_a_server_that_is_not_there_is_told_of_soon(moorage, monkeypatch):
    monkeypatch.setattr("moorage.adapters.gateways.remote.PATIENCE_SECONDS", 0.1)

    refused = moorage("sessions", "--url", "http://127.0.0.1:1", code=1)

    assert "cannot be reached" in refused.stderr


def test_a_server_is_read_with_the_names_of_a_reader():
    names = {name for name in dir(Reader) if not name.startswith("_")}

    async def members() -> set[str]:
        async with reading(Server("http://127.0.0.1:1", None)) as reader:
            assert isinstance(reader, RemoteReader)
            return set(vars(reader))

    assert trio.run(members) <= names


async def test_nodes_are_the_same_but_for_what_a_server_does_not_tell(capsys) -> None:
    store = MemoryStore(lease_seconds=60.0)

    async def shown(source: Any, *, as_json: bool) -> tuple[str, str]:
        capsys.readouterr()  # what the server has logged
        await show_nodes(source, as_json=as_json)
        return capsys.readouterr()

    async with listening(store=store) as server:
        await _until_it_offers(server.service.supervisor)
        at_server = Server(server.address, None)
        here, there = [await shown(one, as_json=True) for one in (store.peer(), at_server)]
        table, note = await shown(at_server, as_json=False)

    told, same = json.loads(here[0]), json.loads(there[0])
    for node in (*told["nodes"], *same["nodes"]):
        assert 0 < node.pop("lease_seconds_left") <= 60
    assert told["nodes"]
    assert told["nodes"] == same["nodes"]
    assert (told["unserved"], same["unserved"]) == ([], None)
    assert table.splitlines()[0].startswith("NODE")
    assert "--store" in note


async def _until_it_offers(supervisor: Any) -> None:
    while not any(node.state for node in await supervisor.nodes()):
        await trio.lowlevel.checkpoint()


async def test_an_export_leaves_what_comes_meanwhile_to_the_next_one() -> None:
    async with listening() as server:
        session = await server.service.supervisor.session("a")
        for number in range(4):
            await session.append("note", number)

        async with reading_log(Server(server.address, None)) as log:
            info, nobody = await log.info("a"), await log.info("b")
            page = await log.read("a", after=1, before=4, limit=10)
            rest = await log.read("a", after=5, limit=10)

    assert info is not None
    assert (info.head_seq, nobody) == (5, None)
    assert [event.seq for event in page.events] == [2, 3]
    assert (rest.events, rest.scanned_to) == ([], 5)
