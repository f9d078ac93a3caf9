"""The registry is in the session's own log, and its totals in the session's metadata."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import open_supervisor
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import Event
from moorage.stores import MemoryStore
from moorage.stores.artifacts import (
    ArtifactDamaged,
    MemoryArtifacts,
    Reference,
    Totals,
    count_artifacts,
    list_artifacts,
    put_artifact,
    read_artifact,
    totals_of,
)
from moorage.stores.artifacts.registry import new_key, registered


async def nothing(request: object, context: object) -> None:
    return None


async def test_what_a_host_puts_is_registered_counted_and_read() -> None:
    artifacts = MemoryArtifacts()
    async with open_supervisor(MemoryStore(), nothing) as supervisor:
        session = await supervisor.session("s", metadata={"mine": 1})
        text = await put_artifact(
            session, artifacts, b"hello", media_type="text/plain; charset=utf-8"
        )
        binary = await put_artifact(session, artifacts, b"\x00\x01")
        lines = await list_artifacts(session)
        listed = [info async for info in supervisor.sessions()]

    assert [(one.reference, one.run_id, one.where) for one in lines] == [
        (text, None, "memory"),
        (binary, None, "memory"),
    ]
    assert totals_of(listed[0]) == Totals(count=2, bytes=7)
    assert listed[0].metadata["mine"] == 1
    assert await read_artifact(artifacts, text) == "hello"
    assert await read_artifact(artifacts, binary) == b"\x00\x01"


async def test_counting_goes_on_where_it_stopped_and_may_be_done_twice() -> None:
    artifacts = MemoryArtifacts()
    async with open_supervisor(MemoryStore(), nothing) as supervisor:
        session = await supervisor.session("s")
        for _ in range(3):
            await put_artifact(session, artifacts, b"12")
        before = (await session.info()).head_seq
        again = [await count_artifacts(session) for _ in range(2)]
        unchanged = (await session.info()).head_seq
        await session.trim(before=unchanged)
        await put_artifact(session, artifacts, b"345")
        totals = totals_of(await session.info())
        left = await list_artifacts(session)

    assert again == [Totals(3, 6)] * 2
    assert unchanged == before
    assert totals == Totals(4, 9)
    assert [one.reference.bytes for one in left] == [3]


async def test_a_fork_does_not_count_what_its_parent_has() -> None:
    artifacts = MemoryArtifacts()
    async with open_supervisor(MemoryStore(), nothing) as supervisor:
        parent = await supervisor.session("parent")
        await put_artifact(parent, artifacts, b"12")
        child = await parent.fork("child")
        before = totals_of(await child.info())
        await put_artifact(child, artifacts, b"345")

        assert before == Totals()
        assert totals_of(await child.info()) == Totals(1, 3)
        assert totals_of(await parent.info()) == Totals(1, 2)


async def test_many_at_once_are_all_counted_in_the_end() -> None:
    artifacts = MemoryArtifacts()
    async with open_supervisor(MemoryStore(), nothing) as supervisor:
        session = await supervisor.session("s")
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(put_artifact, session, artifacts, b"1")

        assert await count_artifacts(session) == Totals(20, 20)


async def test_reading_is_bounded_and_compared() -> None:
    artifacts = MemoryArtifacts()
    stored = await artifacts.put("s/a", b"content")
    reference = Reference.of(stored, "application/octet-stream")

    with pytest.raises(InvalidArgument, match="7 bytes and bytes_max is 6"):
        await read_artifact(artifacts, reference, bytes_max=6)
    await artifacts.put("s/a", b"contenT")
    with pytest.raises(ArtifactDamaged):
        await read_artifact(artifacts, reference)
    await artifacts.put("s/a", b"content and more")
    with pytest.raises(ArtifactDamaged, match="more than its 7 bytes"):
        await read_artifact(artifacts, reference)


@pytest.mark.parametrize(
    ("type", "data"),
    [("message_sent", {}), ("artifact_stored", None), ("artifact_stored", {"artifact": 1})],
)
def test_what_registers_nothing_is_none(type: str, data: object) -> None:
    assert registered(Event("s", 1, 1, type, None, data)) is None
    assert new_key("s").startswith("s/")
