import trio
from moorage.adapters.gateways.hosting.batches import (
    LISTED_AT_ONCE,
    BatchReader,
    ListingReader,
)
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore


async def agent(request, context):
    for number in range(3):
        await context.emit("note", {"number": number})


async def test_a_batch_is_read_when_the_one_before_is_used_up():
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-1")
        outcome = await session.execute("hello")
        async with session.subscribe(run_id=outcome.run_id, types={"note"}) as events:
            reader = BatchReader(events)
            assert reader.next_event() is None

            await reader.read()
            assert reader.next_event().data == {"number": 0}
            await reader.read()  # nothing is lost by reading early

            assert [event.data["number"] for event in reader.rest()] == [1, 2]
            await reader.read()
            assert reader.rest() == []
            assert reader.next_event() is None


async def test_a_listing_is_read_by_pages_and_closed():
    closed = []

    async def numbers():
        try:
            for number in range(LISTED_AT_ONCE + 1):
                await trio.lowlevel.checkpoint()
                yield number
        finally:
            closed.append(True)

    reader = ListingReader(numbers())

    assert await reader.read() == list(range(LISTED_AT_ONCE))
    assert await reader.read() == [LISTED_AT_ONCE]
    assert await reader.read() == []
    assert closed == [True]
    left = ListingReader(numbers())
    await left.read()
    await left.close()
    assert closed == [True, True]


async def test_an_iterator_that_cannot_be_closed_is_let_go():
    class Endless:
        def __aiter__(self):
            return self

        async def __anext__(self):
            await trio.lowlevel.checkpoint()
            return 1

    reader = ListingReader(Endless())

    assert len(await reader.read()) == LISTED_AT_ONCE
    await reader.close()
