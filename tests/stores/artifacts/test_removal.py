"""Artifacts go behind their session, whatever crashes, and what nobody refers to is found."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from moorage.runtime import Supervisor, open_supervisor
from moorage.runtime.errors import InvalidArgument
from moorage.stores import MemoryStore
from moorage.stores.artifacts import (
    FileArtifacts,
    MemoryArtifacts,
    put_artifact,
    remove_artifacts,
    remove_artifacts_of,
    sweep_artifacts,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from moorage.stores.artifacts.port import ArtifactStore

DAY_NS = 24 * 3600 * 10**9


async def nothing(request: object, context: object) -> None:
    return None


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def supervisor(store: MemoryStore) -> AsyncIterator[Supervisor]:
    async with open_supervisor(store, nothing) as supervisor:
        yield supervisor


def later() -> int:
    return time.time_ns() + 2 * DAY_NS


async def keys(artifacts: ArtifactStore) -> set[str]:
    return {listed.key async for listed in artifacts.contents()}


async def test_artifacts_go_after_their_session_and_others_stay(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    references = {}
    for session_id in ("a", "a2", "b"):
        session = await supervisor.session(session_id)
        references[session_id] = await put_artifact(session, artifacts, session_id.encode())

    with pytest.raises(InvalidArgument, match="'a' exists"):
        await remove_artifacts(artifacts, store, "a")
    assert len(await keys(artifacts)) == 3
    await supervisor.delete_session("a")
    removed = await remove_artifacts(artifacts, store, "a")

    assert removed == 1
    assert await keys(artifacts) == {references["a2"].key, references["b"].key}
    assert await remove_artifacts(artifacts, store, "a") == 0


async def test_what_a_crash_between_the_two_left_is_swept(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    for session_id in ("a", "b"):
        session = await supervisor.session(session_id)
        kept = await put_artifact(session, artifacts, b"12345")
    await supervisor.delete_session("a")  # and the process ends here

    young = await sweep_artifacts(artifacts, store)
    tried = await sweep_artifacts(artifacts, store, time_ns=later, dry_run=True)
    assert len(await keys(artifacts)) == 2
    swept = await sweep_artifacts(artifacts, store, time_ns=later)

    assert (young.artifacts, young.bytes, young.orphans, young.freed_bytes) == (2, 10, (), 0)
    assert tried.orphans == swept.orphans
    assert (len(swept.orphans), swept.unnamed, swept.freed_bytes) == (1, (), 5)
    assert (tried.dry_run, swept.dry_run) == (True, False)
    assert await keys(artifacts) == {kept.key}


async def test_what_was_stored_and_never_registered_is_swept(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    session = await supervisor.session("a")
    kept = await put_artifact(session, artifacts, b"kept")
    await artifacts.put("a/unregistered", b"lost")

    report = await sweep_artifacts(artifacts, store, time_ns=later)

    assert (report.orphans, report.unnamed) == ((), ("a/unregistered",))
    assert await keys(artifacts) == {kept.key}


async def test_a_trimmed_session_keeps_what_only_its_forgotten_events_named(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    session = await supervisor.session("a")
    kept = await put_artifact(session, artifacts, b"kept")
    await session.trim(before=(await session.info()).head_seq)

    report = await sweep_artifacts(artifacts, store, time_ns=later)

    assert (report.orphans, report.unnamed) == ((), ())
    assert await keys(artifacts) == {kept.key}


async def test_a_second_life_does_not_keep_what_the_first_left(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    session = await supervisor.session("a")
    await put_artifact(session, artifacts, b"of the first life")
    await supervisor.delete_session("a")
    session = await supervisor.session("a")
    kept = await put_artifact(session, artifacts, b"of the second life")

    report = await sweep_artifacts(artifacts, store, time_ns=later)

    assert len(report.unnamed) == 1
    assert await keys(artifacts) == {kept.key}


async def test_what_a_fork_refers_to_stays_until_the_fork_goes(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    parent = await supervisor.session("parent")
    shown = await put_artifact(parent, artifacts, b"shown")
    await put_artifact(parent, artifacts, b"never shown")
    await parent.append(
        "message_received",
        {
            "content": "look",
            "tool_calls": [{"tool_call_id": "1", "tool_name": "draw", "tool_input": {}}],
        },
    )
    await parent.append(
        "tool_call_completed",
        {"tool_call_id": "1", "tool_name": "draw", "tool_output": shown.to_plain()},
    )
    await parent.fork("child")
    await supervisor.handle("child").fork("grandchild")

    for session_id in ("parent", "child"):
        await supervisor.delete_session(session_id)
        await remove_artifacts(artifacts, store, session_id)
    await sweep_artifacts(artifacts, store, time_ns=later)
    assert await keys(artifacts) == {shown.key}
    await supervisor.delete_session("grandchild")
    report = await sweep_artifacts(artifacts, store, time_ns=later)

    assert report.orphans == (shown.key,)


async def test_a_sweep_clears_what_was_half_written(
    supervisor: Supervisor, store: MemoryStore, tmp_path: Path
) -> None:
    artifacts = FileArtifacts(tmp_path)
    await put_artifact(await supervisor.session("a"), artifacts, b"kept")
    half = tmp_path / ".incoming" / "half"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))

    await sweep_artifacts(artifacts, store)

    assert not half.exists()
    assert len(await keys(artifacts)) == 1


async def test_artifacts_of_many_go_at_once_or_not_at_all(
    supervisor: Supervisor, store: MemoryStore
) -> None:
    artifacts = MemoryArtifacts()
    references = {}
    for session_id in ("a", "b", "c"):
        session = await supervisor.session(session_id)
        references[session_id] = await put_artifact(session, artifacts, session_id.encode())
    await supervisor.delete_session("a")
    with pytest.raises(InvalidArgument, match="'b' exists"):
        await remove_artifacts_of(artifacts, store, ["a", "b"])
    assert len(await keys(artifacts)) == 3
    await supervisor.delete_session("b")

    assert await remove_artifacts_of(artifacts, store, ["a", "b"]) == 2
    assert await remove_artifacts_of(artifacts, store, []) == 0

    assert await keys(artifacts) == {references["c"].key}
