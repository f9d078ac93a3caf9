"""The fake that other tests stand on: its clock is theirs."""

from __future__ import annotations

from moorage.stores.artifacts import MemoryArtifacts


async def test_times_are_those_of_the_given_clock() -> None:
    artifacts = MemoryArtifacts(time_ns=lambda: 7)

    await artifacts.put("a", b"1")

    assert [listed.modified_at_ns async for listed in artifacts.contents()] == [7]
