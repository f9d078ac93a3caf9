"""Which sessions have something new, for which webhook, and which process delivers."""

from __future__ import annotations

import attrs
import pytest
import trio
from moorage.adapters.gateways.webhooks import WebhookDispatcher
from moorage.adapters.gateways.webhooks.delivery import WebhookDelivery
from moorage.adapters.gateways.webhooks.dispatcher import check_target
from moorage.adapters.sinks.webhook import AddressRules
from moorage.runtime import InvalidArgument
from moorage.stores import MemoryStore
from structlog.testing import capture_logs

from tests.adapters.gateways.webhooks.post_office import (
    NEVER,
    REFUSED,
    TAKEN,
    PostOffice,
    inline,
    opened_office,
)


async def test_sessions_old_and_new_arrive_whole_and_in_order(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register()
        await office.notes("old", 5)
        async with office.delivering():
            await office.post.wait_taken(*range(1, 7), session_id="old")
            await office.notes("new", 2)
            await office.notes("old", 2)
            await office.post.wait_taken(1, 2, 3, session_id="new")
            await office.post.wait_taken(*range(1, 9), session_id="old")


async def test_a_run_arrives_as_it_happens(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register(types=("run_completed", "run_failed"))
        async with office.delivering():
            session = await office.supervisor.session("a")
            run = await session.submit("hello")
            outcome = await run.wait()
            await office.post.wait_sent(1)
            (sent,) = office.post.taken
            await trio.sleep(60)
        (event,) = sent.told["data"]["events"]

    assert (event["type"], event["run_id"]) == ("run_completed", run.id)
    assert outcome.state == "completed"
    assert len(office.post.sent) == 1


async def test_an_idle_store_is_looked_at_and_nothing_is_read_or_posted(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register()
        for number in range(50):
            await office.notes(f"s{number}", 1)
        async with office.delivering(posts_max=50, poll_seconds=10):
            await office.post.wait_sent(50)
            await trio.sleep(60)
            (delivery,) = office.dispatcher._deliveries.values()
            turns = delivery._order
            await trio.sleep(1_000)

            assert (delivery._order, delivery._pending) == (turns, {})


async def test_each_webhook_has_what_it_asked_for(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        chosen = {
            "one": {"session_id": "acme-1"},
            "prefix": {"prefix": "acme-"},
            "tags": {"tags": {"plan": "pro"}},
            "tenant": {"tenant": "other-"},
            "nothing": {"session_id": "none"},
        }
        for name, fields in chosen.items():
            office.register(url=f"https://{name}.test/", **fields)
        await office.supervisor.session("acme-2", tags={"plan": "pro", "x": "y"})
        await office.supervisor.session("acme-1", tags={"plan": "free"})
        await office.supervisor.session("other-1", tags={"plan": "pro"})
        async with office.delivering():
            await trio.sleep(10)
        got = {
            name: sorted(
                sent.session_id for sent in office.post.taken if name in sent.url.split("//")[1]
            )
            for name in chosen
        }

    assert got == {
        "one": ["acme-1"],
        "prefix": ["acme-1", "acme-2"],
        "tags": ["acme-2", "other-1"],
        "tenant": ["other-1"],
        "nothing": [],
    }


async def test_a_webhook_is_registered_changed_and_removed_while_others_go_on(
    tmp_path, autojump_clock
):
    async with opened_office(tmp_path) as office, office.delivering():
        await office.notes("a", 1)
        webhook = office.register()
        await office.post.wait_taken(1, 2)
        office.file.change(webhook.id, lambda it: attrs.evolve(it, url="https://b.test/"))
        await office.notes("a", 1)
        await office.post.wait_taken(1, 2, 3)
        assert office.post.taken[-1].url == "https://b.test/"
        office.file.remove(webhook.id)
        await trio.sleep(5)
        await office.notes("a", 1)
        await trio.sleep(60)
        assert not office.dispatcher._deliveries

    assert office.post.seqs() == [1, 2, 3]


async def test_after_a_restart_delivery_goes_on_behind_what_was_taken(tmp_path, autojump_clock):
    store = MemoryStore()
    async with opened_office(tmp_path, store=store) as office:
        office.register()
        await office.notes("a", 3)
        async with office.delivering():
            await office.post.wait_taken(1, 2, 3, 4)
        await office.notes("a", 2)
    async with opened_office(tmp_path, store=store) as office:
        async with office.delivering():
            await office.post.wait_taken(5, 6)
            await trio.sleep(100)
        assert office.post.seqs() == [5, 6]


async def test_a_time_that_is_yet_to_come_hides_nothing(tmp_path, autojump_clock):
    async def agent(request, context):
        await context.emit("note", {}, time_ns=2_000_000_000_000_000_000)
        await context.flush()
        await trio.sleep(30)

    async with opened_office(tmp_path, agent=agent) as office, office.delivering():
        office.register(types=("note",))
        await (await office.supervisor.session("ahead")).submit("hello")
        await trio.sleep(20)
        await office.notes("a", 1)
        await office.post.wait_taken(2)
        assert trio.current_time() < 25

    assert office.post.taken[0].session_id == "ahead"


async def test_one_process_delivers_and_another_takes_over_when_it_ends(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register()
        standby_post = PostOffice()
        standby = WebhookDispatcher(
            office.supervisor,
            office.file,
            poster=standby_post,
            in_thread=inline,
            time_ns=office.clock,
        )
        async with trio.open_nursery() as nursery:
            async with office.delivering():
                await office.notes("a", 1)
                await office.post.wait_taken(1, 2)
                nursery.start_soon(standby.run)
                await trio.sleep(10)
                assert (office.dispatcher.delivers, standby.delivers) == (True, False)
            await office.notes("a", 1)
            await standby_post.wait_taken(3)
            assert standby.delivers
            standby.end()


async def test_what_is_being_posted_at_the_end_gets_a_moment_and_comes_again_otherwise(
    tmp_path, autojump_clock
):
    store = MemoryStore()

    def answering(seconds):
        async def answer(sent):
            await trio.sleep(seconds)
            return TAKEN

        return answer

    async with opened_office(tmp_path, answering(1), store=store) as office:
        office.register()
        await office.notes("a", 5)
        async with office.delivering(end_seconds=2):
            await office.post.wait_sent(0)
            await trio.sleep(0.5)
        assert office.post.seqs() == [1, 2]
    async with opened_office(tmp_path, answering(100), store=store) as office:
        async with office.delivering(end_seconds=2):
            await trio.sleep(0.5)
        (cut,) = office.post.sent
        assert office.post.seqs() == []
    async with opened_office(tmp_path, store=store) as office, office.delivering():
        await office.post.wait_taken(3, 4, 5, 6)
        assert office.post.sent[0].id == cut.id


async def test_a_file_that_cannot_be_read_is_told_and_read_when_it_can_be(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register()
        await office.notes("a", 0)
        content = office.file.path.read_text()
        office.file.path.write_text("{")
        async with office.delivering():
            await trio.sleep(10)
            assert office.post.sent == []
            office.file.path.write_text(content)
            await office.post.wait_taken(1)


async def test_a_webhook_whose_delivery_broke_is_begun_again(tmp_path, autojump_clock, monkeypatch):
    broken = True
    real = WebhookDelivery._scan_all

    async def scan_all(self):
        await real(self)
        if broken:
            raise RuntimeError("out of order")

    monkeypatch.setattr(WebhookDelivery, "_scan_all", scan_all)
    with capture_logs() as logged:
        async with opened_office(tmp_path) as office:
            office.register()
            async with office.delivering():
                await trio.sleep(100)
                broken = False
                await trio.sleep(100)
                await office.notes("a", 1)
                with trio.fail_after(300):
                    await office.post.wait_taken(1, 2)

    ended = [line for line in logged if line["event"] == "webhook_ended"]
    assert 3 <= len(ended) <= 4


async def test_a_dispatcher_ends_although_a_broken_webhook_waits(
    tmp_path, autojump_clock, monkeypatch
):
    async def scan_all(self):
        await trio.lowlevel.checkpoint()
        raise RuntimeError("out of order")

    monkeypatch.setattr(WebhookDelivery, "_scan_all", scan_all)
    async with opened_office(tmp_path) as office:
        office.register()
        async with office.delivering(end_seconds=20):
            await trio.sleep(1)
    assert trio.current_time() < 2


async def test_a_ping_is_posted_once_whatever_comes_of_it(tmp_path, autojump_clock):
    async with opened_office(tmp_path, lambda sent: REFUSED) as office:
        webhook = office.register()
        async with office.delivering():
            posted = await office.dispatcher.ping(webhook)
    (sent,) = office.post.sent

    assert posted == REFUSED
    assert (sent.told["type"], sent.url) == ("moorage.ping", webhook.url)


class Picky:
    """Refuses for good what it does not like, as long as it does not."""

    def __init__(self):
        self.dislikes = True

    def __call__(self, sent):
        return NEVER if self.dislikes and sent.seqs[0] != 5 else TAKEN


async def test_dead_letters_come_again_in_order_with_their_ids(tmp_path, autojump_clock):
    picky = Picky()
    async with opened_office(tmp_path, picky) as office:
        webhook = office.register()
        await office.notes("a", 5)
        async with office.delivering():
            await office.post.wait_taken(5, 6)
            letters = office.letters(webhook)
            picky.dislikes = False
            told = await office.dispatcher.redeliver(webhook, letters)

    assert attrs.asdict(told) == {"delivered": 2, "failed": 0, "gone": 0, "error": None}
    assert office.post.seqs() == [5, 6, 1, 2, 3, 4]
    assert [sent.id for sent in office.post.sent[-2:]] == [letter.id for letter in letters]
    assert [sent.told for sent in office.post.sent[-2:]] == [
        sent.told for sent in office.post.sent[:2]
    ]
    assert office.letters(webhook) == []


async def test_a_failure_ends_redelivery_and_keeps_the_rest(tmp_path, autojump_clock):
    async with opened_office(tmp_path, Picky()) as office:
        webhook = office.register()
        await office.notes("a", 5)
        async with office.delivering():
            await office.post.wait_taken(5, 6)
            letters = office.letters(webhook)
            told = await office.dispatcher.redeliver(webhook, letters)

    assert (told.delivered, told.failed, told.error) == (0, 1, "answered 422")
    assert office.letters(webhook) == letters


async def test_dead_letters_of_what_is_gone_are_gone_and_of_what_is_left_come(
    tmp_path, autojump_clock
):
    picky = Picky()
    async with opened_office(tmp_path, picky) as office:
        webhook = office.register()
        await office.notes("a", 5)
        await office.notes("b", 1)
        async with office.delivering():
            while len(office.letters(webhook)) < 3:
                await trio.sleep(1)
            picky.dislikes = False
            await office.supervisor.delete_session("b")
            await office.supervisor.handle("a").trim(before=4)
            told = await office.dispatcher.redeliver(webhook, office.letters(webhook))

    assert (told.delivered, told.gone) == (1, 2)
    assert office.post.seqs()[-1:] == [4]
    assert office.letters(webhook) == []


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "ftp://x", "http://example.com/"])
def test_a_target_that_cannot_be_one_is_an_invalid_argument(url):
    post = PostOffice()
    post.rules = AddressRules()

    with pytest.raises(InvalidArgument, match="url"):
        check_target(post, url)
    assert check_target(post, "https://example.com/") == "https://example.com/"
