"""Retention on every store, and with its process killed in the middle."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from moorage.runtime import (
    RetentionPolicy,
    RetentionRule,
    SessionDeleted,
    SupervisorLimits,
    UnknownSession,
    open_supervisor,
)
from moorage.runtime.testing import assert_history
from moorage.stores import JournalStore
from moorage.stores.artifacts import FileArtifacts, list_artifacts, read_artifact
from moorage.stores.journal import verify

from tests.acceptance.retention_service import fill

SERVICE = Path(__file__).with_name("retention_service.py")
SESSIONS = 36
KILLED_AFTER = 7
STOPS_AFTER = 20
"""Of 24: it can be late to be killed, and has not come to its end."""
FAST = SupervisorLimits(retention_sessions_per_second_max=math.inf)


async def test_hiding_restoring_and_retention_survive_on_every_store(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        for id in ("gone", "hidden", "kept"):
            session = await supervisor.session(id, tags={"id": id}, expire_after_seconds=1e6)
            await session.execute("x", key="k")
        await supervisor.delete_session("hidden", soft=True, reason="by test")
        await supervisor.delete_session("gone", soft=True)

    async with open_supervisor(open_store(), works, limits=FAST) as supervisor:
        assert [info.id async for info in supervisor.sessions()] == ["kept"]
        for id in ("gone", "hidden"):
            with pytest.raises(SessionDeleted):
                await supervisor.session(id)
        await supervisor.restore_session("hidden")
        policy = RetentionPolicy(
            rules=[RetentionRule(action="trim", prefix="kept", events_keep_last=2)],
            purge_after_seconds=0,
        )
        report = await supervisor.apply_retention(policy)
        assert report.problems == ()
        assert (report.ids("delete"), report.ids("trim")) == (("gone",), ("kept",))
        assert all(entry.bytes > 0 for entry in report.entries)

    async with open_supervisor(open_store(), works, limits=FAST) as supervisor:
        assert {info.id async for info in supervisor.sessions()} == {"hidden", "kept"}
        with pytest.raises(UnknownSession):
            await supervisor.restore_session("gone")
        hidden = await supervisor.session("hidden")
        info = await hidden.info()
        assert (info.state, info.tags, info.expire_after_seconds) == ("open", {"id": "hidden"}, 1e6)
        assert (await hidden.execute("x", key="k")).output == "x"
        assert_history(await hidden.events())
        kept = await supervisor.session("kept")
        assert (await kept.execute("y")).output == "y"
        assert (await supervisor.apply_retention(policy)).ids("delete") == ()


def start(directory, *arguments):
    command = [sys.executable, str(SERVICE), str(directory), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_a_process_that_is_killed_in_the_middle_is_gone_on_from(tmp_path, works):
    await fill(tmp_path, SESSIONS)
    process = start(tmp_path, STOPS_AFTER)
    try:
        told = [process.stdout.readline() for _ in range(KILLED_AFTER)]
    finally:
        process.send_signal(signal.SIGKILL)
        told += process.communicate()[0].splitlines(keepends=True)
    assert process.returncode == -signal.SIGKILL
    assert "done\n" not in told
    last = start(tmp_path)
    told += last.communicate(timeout=120)[0].splitlines(keepends=True)
    assert (last.returncode, told.pop()) == (0, "done\n")

    expected = {f"{'soft' if n % 3 == 2 else 'old'}-{n}" for n in range(SESSIONS) if n % 3 != 1}
    ids = [line.split()[1] for line in told]
    # what is told after its deletion may be done and not be told, and nothing is told twice
    assert len(ids) == len(set(ids))
    assert set(ids) <= expected
    artifacts = FileArtifacts(tmp_path / "artifacts")
    async with open_supervisor(JournalStore(tmp_path / "data"), works) as supervisor:
        there = {info.id: info async for info in supervisor.sessions(include_deleted=True)}
        assert set(there) == {f"{'soft' if n % 3 == 2 else 'old'}-{n}" for n in range(SESSIONS)} - {
            f"old-{n}" for n in range(0, SESSIONS, 3)
        }
        keys = set()
        for id, info in there.items():
            assert (info.deleted_at_ns is not None) is id.startswith("soft")
            session = await supervisor.session(id, include_deleted=True)
            (line,) = await list_artifacts(session)
            assert await read_artifact(artifacts, line.reference) == f"artifact of {id}".encode()
            keys.add(line.reference.key)
            assert_history(await session.events())
        assert {one.key async for one in artifacts.contents()} == keys
    assert verify(tmp_path / "data").sound
