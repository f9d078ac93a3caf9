from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.model_api.shared_client import SharedClient, certificates


class FakeClient:
    """A client that knows whether it is open."""

    def __init__(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self.is_open = False


async def test_users_at_one_time_share_a_client_that_the_last_one_closes() -> None:
    shared = SharedClient(FakeClient)

    async with shared.use() as first:
        async with shared.use() as second:
            assert second is first
        assert first.is_open

    assert not first.is_open
    async with shared.use() as third:
        assert third is not first


async def test_a_client_of_the_user_s_own_is_never_closed() -> None:
    own = FakeClient()
    shared = SharedClient(FakeClient, own)
    await shared.hold()

    async with shared.use() as first:
        assert first is own
    await shared.let_go()

    assert own.is_open


async def test_a_held_client_stays_open_between_users() -> None:
    shared = SharedClient(FakeClient)
    await shared.hold()

    async with shared.use() as first:
        pass
    async with shared.use() as second:
        assert second is first
    assert first.is_open
    await shared.let_go()

    assert not first.is_open


async def test_a_cancelled_user_closes_it_too() -> None:
    shared = SharedClient(FakeClient)

    with trio.CancelScope() as scope:
        async with shared.use() as client:
            scope.cancel()
            await trio.lowlevel.checkpoint()

    assert not client.is_open


async def test_event_loops_do_not_share() -> None:
    shared = SharedClient(FakeClient)

    async def of_another_loop() -> FakeClient:
        async with shared.use() as client:
            return client

    async with shared.use() as mine:
        theirs = await trio.to_thread.run_sync(trio.run, of_another_loop)

        assert theirs is not mine
        assert (mine.is_open, theirs.is_open) == (True, False)


async def test_what_making_it_raises_leaves_nothing_behind() -> None:
    def refuse() -> FakeClient:
        raise ValueError("no key")

    shared = SharedClient(refuse)

    for _ in range(2):
        with pytest.raises(ValueError, match="no key"):
            async with shared.use():
                pass


def test_certificates_are_read_once() -> None:
    assert certificates() is certificates()
