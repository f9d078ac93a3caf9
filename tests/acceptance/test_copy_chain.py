"""``moorage copy`` from store to store and back: nothing is lost, added, or another."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.command_line import app
from moorage.adapters.gateways.exporting import export_session
from moorage.runtime import NewEvent, open_supervisor
from moorage.stores import Durability, JournalStore, SqliteStore
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moorage.runtime import Supervisor
    from moorage.runtime.ports import Store, StoreReader

    from tests.postgres_server import PostgresSchema

SESSIONS = 20
EVENTS = 5_000
"""In each of them: 100,000 in all."""
APPENDED_AT_ONCE = 1_000
PATIENCE_SECONDS = 120.0
STOPPED_AFTER = 5
"""Sessions that a copy which is to be killed can begin."""
GATE = 1_234
"""Of the lock that whoever begins another waits for."""


WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


async def write(supervisor: Supervisor) -> None:
    """Sessions with runs, keys, tags, all kinds of data, cursors and snapshots; one of them is
    trimmed, one closed, and two were deleted, of which one began again."""
    plain = NewEvent("note", {"text": "a few words of text"})
    rich = NewEvent("note", {"$b": b"\0\xff", "f": [0.1, float("nan")], "n": [None, 2**63, True]})
    for number in range(SESSIONS):
        session = await supervisor.session(f"s{number:02}", slots=2, tags={"n": str(number)})
        await session.execute({"n": number}, key="first")
        head = (await session.info()).head_seq
        for start in range(head, EVENTS - 3, APPENDED_AT_ONCE):
            count = min(APPENDED_AT_ONCE, EVENTS - 3 - start)
            await session.append_many([plain] * (count - 1) + [rich])
        await session.execute("the last one", key="last")
        async with session.subscribe(name=f"reader {number}") as events:
            async for event in events:
                await events.ack(event)
                break
    await (await supervisor.session("s01")).trim(before=EVENTS // 2)
    await (await supervisor.session("s02")).close()
    for session_id in ("gone", "again"):
        await (await supervisor.session(session_id)).execute("x")
        await supervisor.delete_session(session_id)
    await (await supervisor.session("again")).execute("y")


async def beside(reader: StoreReader) -> dict[str, Any]:
    """What an export does not show."""
    infos = [info async for info in reader.sessions()]
    return {
        "sessions": infos,
        "deleted": sorted([tombstone async for tombstone in reader.tombstones()]),
        "cursors": [await reader.cursors(info.id) for info in infos],
        "snapshots": [await reader.snapshot(info.id) for info in infos],
        "keys": [await reader.find_key(info.id, "last") for info in infos],
    }


async def taken(
    store: Store, folder: Path, session_ids: Sequence[str] | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The exports of these sessions (None: of all), as bytes, and what they do not show."""
    async with store.reading() as reader:
        found = await beside(reader)
    exports: dict[str, bytes] = {}
    for session_id in session_ids or [info.id for info in found["sessions"]]:
        file = trio.Path(folder / session_id)
        await export_session(store, session_id, folder / session_id)
        exports[session_id] = await file.read_bytes()
    return exports, found


def copy(source: str, target: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["copy", "--from", source, "--to", target, "--json"])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    assert (report["problems"], report["verified"]) == ([], True)
    return report


def kill_in_the_middle(source: str, target: str, schema: PostgresSchema) -> None:
    """Copy in another process, which is killed when it has done a few sessions; it gets no further
    than that, so that the kill can be late."""
    schema.do(
        f"""CREATE FUNCTION {schema.name}.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM {schema.name}.session) >= {STOPPED_AFTER} THEN
                PERFORM pg_advisory_xact_lock({GATE});
            END IF;
            RETURN NEW;
        END $$""",
        "CREATE TRIGGER stop BEFORE INSERT ON session FOR EACH ROW EXECUTE FUNCTION stop()",
    )
    command = [sys.executable, "-m", "moorage.adapters.gateways", "copy"]
    process = subprocess.Popen(
        [*command, "--from", source, "--to", target],
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with schema.connect() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [GATE])
            while not (waiting := connection.execute(WAITING, [GATE]).fetchall()):
                assert process.poll() is None, "it came to its end before it could be killed"
                assert time.monotonic() < deadline
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.002)
            process.kill()
            process.wait()
            for (server_process,) in waiting:  # what it had asked for last does not happen
                connection.execute("SELECT pg_terminate_backend(%s, 60_000)", [server_process])
    finally:
        process.kill()
        process.wait()
    schema.do("DROP TRIGGER stop ON session", "DROP FUNCTION stop()")


def test_a_hundred_thousand_events_go_round_and_come_back_the_same(
    postgres: PostgresSchema, tmp_path: Path
) -> None:
    async def fill() -> None:
        # what is to be copied need not outlive a power loss
        store = JournalStore(tmp_path / "first", durability=Durability.BUFFERED)
        async with open_supervisor(store, ScriptedAgent()) as supervisor:
            await write(supervisor)

    trio.run(fill)
    database = f"postgres:{postgres.server.dsn}?schema={postgres.name}&lease_seconds=5"
    first, second = str(tmp_path / "first"), f"sqlite:{tmp_path / 'second.db'}"
    last = f"journal:{tmp_path / 'last'}"

    kill_in_the_middle(first, database, postgres)
    reports = [copy(first, database), copy(database, second), copy(second, last)]

    exports, others = trio.run(taken, JournalStore(tmp_path / "first"), tmp_path)
    some = {session_id: exports[session_id] for session_id in ("s00", "s01", "again")}
    for store in (postgres.store(), SqliteStore(tmp_path / "second.db")):
        assert trio.run(taken, store, tmp_path, list(some)) == (some, others)
    assert trio.run(taken, JournalStore(tmp_path / "last"), tmp_path) == (exports, others)
    assert sum(export.count(b"\n") for export in exports.values()) > SESSIONS * EVENTS - EVENTS
    assert others["deleted"] == [("gone", 4)]
    assert 0 < reports[0]["sessions_there"] < SESSIONS + 1
    assert reports[0]["sessions"] + reports[0]["sessions_there"] == SESSIONS + 1
    assert [report["sessions"] for report in reports[1:]] == [SESSIONS + 1] * 2
