"""Every artifact that an event names is read, and those that none names are told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore
from moorage.stores.artifacts import FileArtifacts, check_artifacts, put_artifact
from moorage.stores.conformance.scenario import opened
from moorage.stores.health import Findings

from tests.stores.inspected import told

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.runtime import RunContext, RunRequest
    from moorage.stores.health import HealthReport


async def nothing(request: RunRequest, context: RunContext) -> None:
    """Is not called."""


def file_of(directory: Path, key: str) -> Path:
    (file,) = directory.rglob(key.rpartition("/")[2])
    return file


async def checked(store: MemoryStore, artifacts: FileArtifacts) -> HealthReport:
    findings = Findings()
    async with opened(store.peer) as reader:
        await check_artifacts(artifacts, reader, findings)
    return findings.report()


async def test_artifacts_are_read_and_missing_or_other_ones_told(tmp_path: Path) -> None:
    store, artifacts = MemoryStore(), FileArtifacts(tmp_path)
    async with open_supervisor(store.peer(), nothing) as supervisor:
        session = await supervisor.session("a")
        one, two, three = [
            await put_artifact(session, artifacts, content * 100)
            for content in (b"one", b"two", b"three")
        ]
        await session.append("note", {"again": [two.to_plain()]})
    await artifacts.put("nobody/knows", b"content")
    for key in (one.key, two.key, three.key, "nobody/knows"):
        os.utime(file_of(tmp_path, key), (0, 0))
    sound = await checked(store, artifacts)

    await artifacts.delete([one.key])
    file_of(tmp_path, two.key).write_bytes(b"TWO" * 100)
    file_of(tmp_path, three.key).write_bytes(b"three")
    report = await checked(store, artifacts)

    assert sound.sound
    assert sound.facts["artifacts"] == 3
    assert told(sound, "nobody/knows", "a session that does not exist")
    assert told(report, one.key, "it is not in")
    assert told(report, two.key, "session 'a', seq")
    assert told(report, three.key)
    assert report.damages == 3
