"""One session to one webhook: what comes, and from where one goes on."""

from __future__ import annotations

import pytest
import trio
from moorage.adapters.gateways.webhooks.session_lane import SessionLane
from moorage.adapters.sinks.webhook import PostLimits
from moorage.runtime import CursorHeld, UnknownSession
from moorage.stores import MemoryStore

from tests.adapters.gateways.webhooks.post_office import opened_office

LIMITS = PostLimits(batch_events_max=3)


class Settled:
    """Takes messages; raises ``error`` instead from the ``fails_at``-th on."""

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.got = []

    async def __call__(self, message, place):
        await trio.lowlevel.checkpoint()
        self.got.append((message.id, place.first_seq, place.last_seq, message.events))
        if self.fails_at is not None and len(self.got) >= self.fails_at:
            raise ConnectionError("cut")

    @property
    def ranges(self):
        return [(first, last) for _, first, last, _ in self.got]


def lane(office, webhook, settle, *, posts_per_turn=1_000):
    return SessionLane(office.supervisor, webhook, LIMITS, settle, posts_per_turn=posts_per_turn)


async def test_a_message_on_its_way_in_a_crash_is_the_same_message_again(tmp_path, autojump_clock):
    store = MemoryStore()
    async with opened_office(tmp_path, store=store) as office:
        webhook = office.register()
        await office.notes("a", 4)
        before = Settled(fails_at=2)
        with pytest.raises(ConnectionError):
            await lane(office, webhook, before).deliver("a", 5)
        await office.notes("a", 5)
    async with opened_office(tmp_path, store=store) as office:
        after = Settled()
        assert await lane(office, webhook, after).deliver("a", 10)

    assert before.ranges == [(1, 3), (4, 5)]
    assert after.ranges == [(4, 5), (6, 8), (9, 10)]
    assert after.got[0] == before.got[1]


async def test_a_message_begun_by_another_limit_is_the_same_message_again(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        await office.notes("a", 1_200)
        large = PostLimits(batch_events_max=900)
        before = Settled(fails_at=1)
        with pytest.raises(ConnectionError):
            await SessionLane(office.supervisor, webhook, large, before, posts_per_turn=1).deliver(
                "a", 1_201
            )
        after = Settled()
        await lane(office, webhook, after, posts_per_turn=2).deliver("a", 1_201)

    assert after.ranges == [(1, 900), (901, 903)]
    assert after.got[0] == before.got[0]


async def test_other_types_are_passed_over_and_done_with(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register(types=("wanted",))
        for _ in range(2):
            await office.notes("a", 1, type="wanted")
            await office.notes("a", 1_500)
        settled = Settled()
        assert await lane(office, webhook, settled).deliver("a", 3_003)
        assert await lane(office, webhook, settled).deliver("a", 3_003)
        async with office.supervisor.handle("a").subscribe(name=webhook.cursor) as done:
            assert done.cursor == 3_003

    assert sum(events for *_, events in settled.got) == 2
    assert settled.ranges[0][0] == 1


async def test_a_turn_ends_and_the_next_one_goes_on(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        await office.notes("a", 11)
        settled = Settled()
        turns = [
            await lane(office, webhook, settled, posts_per_turn=2).deliver("a", 12)
            for _ in range(3)
        ]

    assert turns == [False, True, True]
    assert settled.ranges == [(1, 3), (4, 6), (7, 9), (10, 12)]


async def test_nothing_is_begun_at_the_end(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        await office.notes("a", 3)
        settled = Settled()
        ending = lane(office, webhook, settled)
        ending.ending = True

        assert not await ending.deliver("a", 4)
        assert settled.got == []


@pytest.mark.parametrize("before", [0, 3, 450])
@pytest.mark.parametrize("behind", [0, 2, 450])
async def test_a_webhook_from_now_on_begins_where_it_was_registered(
    tmp_path, autojump_clock, before, behind
):
    async with opened_office(tmp_path) as office:
        await office.notes("a", before)
        await trio.sleep(1)
        webhook = office.register(since_ns=office.clock())
        await trio.sleep(1)
        await office.notes("a", behind)
        await office.notes("new", 1)
        settled = Settled()
        await lane(office, webhook, settled).deliver("a", before + behind + 1)
        old, settled.got = settled.ranges, []
        await lane(office, webhook, settled).deliver("new", 2)

    firsts = range(before + 2, before + behind + 2, 3)
    assert old == [(first, min(first + 2, before + behind + 1)) for first in firsts]
    assert settled.ranges == [(1, 2)]


async def test_what_was_trimmed_away_is_told_and_the_rest_comes(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        await office.notes("a", 2)
        settled = Settled()
        await lane(office, webhook, settled).deliver("a", 3)
        await office.notes("a", 7)
        await office.supervisor.handle("a").trim(before=8)
        trimmed = lane(office, webhook, settled)
        await trimmed.deliver("a", 10)

    assert settled.ranges == [(1, 3), (8, 10)]
    assert trimmed.missed == 4


async def test_a_session_that_was_trimmed_before_it_was_found_has_missed_nothing(
    tmp_path, autojump_clock
):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        await office.notes("a", 5)
        await office.supervisor.handle("a").trim(before=5)
        settled = Settled()
        trimmed = lane(office, webhook, settled)
        await trimmed.deliver("a", 6)

    assert (settled.ranges, trimmed.missed) == ([(5, 6)], 0)


@pytest.mark.parametrize("behind", [0, 2, 450])
@pytest.mark.parametrize("trimmed_before", [3, 5, 6, 8], ids="trimmed before {}".format)
async def test_a_webhook_from_now_on_begins_there_in_a_session_that_was_trimmed(
    tmp_path, autojump_clock, behind, trimmed_before
):
    async with opened_office(tmp_path) as office:
        await office.notes("a", 5)
        await trio.sleep(1)
        webhook = office.register(since_ns=office.clock())
        await trio.sleep(1)
        await office.notes("a", behind)
        head = behind + 6
        oldest = min(trimmed_before, head)
        await office.supervisor.handle("a").trim(before=oldest)
        settled = Settled()
        begun = lane(office, webhook, settled)
        await begun.deliver("a", head)

    firsts = range(max(oldest, 7), head + 1, 3)
    assert settled.ranges == [(first, min(first + 2, head)) for first in firsts]
    assert begun.missed == 0


async def test_a_closed_session_is_brought_to_its_end(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        await office.notes("a", 1)
        await office.supervisor.handle("a").close()
        settled = Settled()

        assert await lane(office, webhook, settled).deliver("a", 3)
        assert await lane(office, webhook, settled).deliver("a", 99)
        assert settled.ranges == [(1, 3)]


async def test_a_session_that_is_not_there_or_somebody_elses_is_not_touched(
    tmp_path, autojump_clock
):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        settled = Settled()
        with pytest.raises(UnknownSession):
            await lane(office, webhook, settled).deliver("a", 1)
        await office.notes("a", 1)
        async with office.supervisor.handle("a").subscribe(name=webhook.cursor):
            with pytest.raises(CursorHeld):
                await lane(office, webhook, settled).deliver("a", 2)
        assert settled.got == []
