"""One webhook, by the virtual clock and without a network: what comes, when, and how often."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import structlog
import trio
from moorage.adapters.sinks.webhook import new_secret
from moorage.adapters.sinks.webhook.posting import Posted

from tests.adapters.gateways.webhooks.post_office import (
    GONE,
    NEVER,
    REFUSED,
    TAKEN,
    opened_office,
)

BUSY = Posted(verdict="later", status=429, error="answered 429", retry_after_seconds=500)


def failing(*session_ids, with_=REFUSED, times=1_000_000):
    """An office that refuses so many messages of these sessions."""
    left = dict.fromkeys(session_ids, times)

    def answer(sent):
        if left.get(sent.session_id, 0) > 0:
            left[sent.session_id] -= 1
            return with_
        return TAKEN

    return answer


async def test_a_message_comes_again_later_and_later_with_the_same_id(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a", times=5)) as office:
        office.register()
        await office.notes("a", 3)
        async with office.delivering():
            await office.post.wait_taken(1, 2, 3, 4)

    first = office.post.sent[:6]
    pauses = [after.at - before.at for before, after in pairwise(first)]
    assert len({sent.id for sent in first}) == 1
    assert [sent.seqs for sent in first] == [[1, 2]] * 6
    for number, pause in enumerate(pauses):
        assert 2**number / 2 <= pause <= 2**number + 0.001


async def test_events_that_come_meanwhile_wait_behind_what_fails(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a", times=4)) as office:
        office.register()
        await office.notes("a", 2)
        async with office.delivering():
            await office.post.wait_sent(2)
            await office.notes("a", 3)
            await office.post.wait_taken(1, 2, 3, 4, 5, 6)


async def test_a_busy_target_is_left_alone_for_as_long_as_it_asks(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a", with_=BUSY, times=1)) as office:
        office.register()
        await office.notes("a", 0)
        async with office.delivering():
            await office.post.wait_taken(1)

    first, second = office.post.sent
    assert 500 <= second.at - first.at <= 501


async def test_a_message_that_fails_too_often_is_a_dead_letter_and_the_session_goes_on(
    tmp_path, autojump_clock
):
    answer = failing("a", times=3)
    async with opened_office(tmp_path, answer) as office:
        webhook = office.register()
        await office.notes("a", 4)
        async with office.delivering(attempts_max=3):
            await office.post.wait_taken(3, 4, 5)
        (letter,) = office.letters(webhook)

    assert (letter.session_id, letter.first_seq, letter.last_seq) == ("a", 1, 2)
    assert (letter.attempts, letter.error) == (3, "answered 500")
    assert letter.id == office.post.sent[0].id


async def test_a_message_that_is_too_old_is_a_dead_letter(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a")) as office:
        webhook = office.register()
        await office.notes("a", 0)
        async with office.delivering(give_up_seconds=1_000, poll_seconds=60):
            while not office.letters(webhook):
                await office.post.news.wait()
                await trio.sleep(1)
        (letter,) = office.letters(webhook)

    assert 1_000 <= office.post.sent[-1].at - office.post.sent[0].at < 2_500
    assert letter.attempts == len(office.post.sent)


async def test_a_message_that_is_at_fault_itself_is_a_dead_letter_at_once(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a", with_=NEVER, times=1)) as office:
        webhook = office.register()
        await office.notes("a", 3)
        async with office.delivering():
            await office.post.wait_taken(3, 4)
        (letter,) = office.letters(webhook)

    assert (letter.first_seq, letter.last_seq, letter.attempts) == (1, 2, 1)


async def test_a_target_that_is_gone_gets_nothing_more_and_nothing_is_lost(
    tmp_path, autojump_clock
):
    async with opened_office(tmp_path, failing("a", with_=GONE, times=1)) as office:
        webhook = office.register()
        await office.notes("a", 3)
        async with office.delivering(poll_seconds=10):
            while office.file.find(webhook.id).enabled:
                await trio.sleep(1)
            await office.notes("a", 1)
            await trio.sleep(1_000)
            assert len(office.post.sent) == 1
            assert "answered 410" in office.file.find(webhook.id).disabled_reason

            office.file.change(webhook.id, lambda it: attrs.evolve(it, disabled_reason=None))
            office.dispatcher.poke()
            await office.post.wait_taken(1, 2, 3, 4, 5)
        assert office.letters(webhook) == []


async def test_a_webhook_of_which_nothing_is_taken_for_days_is_disabled(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a")) as office:
        webhook = office.register()
        await office.notes("a", 0)
        async with office.delivering(disable_seconds=86_400, poll_seconds=3_600):
            while office.file.find(webhook.id).enabled:
                await trio.sleep(600)

    assert 86_400 <= office.post.sent[-1].at < 90_500
    assert office.letters(webhook) == []


async def test_time_in_which_nothing_is_asked_of_a_target_is_no_failing(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a")) as office:
        webhook = office.register()
        await office.notes("a", 0)
        limits = {"attempts_max": 2, "disable_seconds": 86_400, "poll_seconds": 3_600}
        async with office.delivering(**limits):
            for letters in (1, 2):
                with trio.fail_after(86_400):
                    while len(office.letters(webhook)) < letters:
                        await trio.sleep(600)
                await trio.sleep(2 * 86_400)
                await office.notes("a", 1)
            assert office.file.find(webhook.id).enabled


async def test_a_message_that_is_on_its_way_as_its_webhook_is_removed_leaves_no_dead_letter(
    tmp_path, autojump_clock
):
    async def answer(sent):
        await trio.sleep(10)
        return NEVER

    async with opened_office(tmp_path, answer) as office:
        webhook = office.register()
        await office.notes("a", 0)
        async with office.delivering(end_seconds=60):
            await trio.sleep(5)
            office.file.remove(webhook.id)
            await trio.sleep(60)

    assert office.letters(webhook) == []


async def test_a_webhook_with_too_many_dead_letters_is_disabled_and_keeps_its_place(
    tmp_path, autojump_clock
):
    async with opened_office(tmp_path, failing("a", with_=NEVER, times=3)) as office:
        webhook = office.register()
        await office.notes("a", 5)
        async with office.delivering(dead_letters_max=2):
            while office.file.find(webhook.id).enabled:
                await trio.sleep(1)
            assert "dead_letters_full" in office.file.find(webhook.id).disabled_reason
            assert len(office.letters(webhook)) == 2

            office.file.dead_letters(webhook.id).clear()
            office.file.change(webhook.id, lambda it: attrs.evolve(it, disabled_reason=None))
            office.dispatcher.poke()
            await office.post.wait_taken(5, 6)


async def test_a_failing_session_holds_up_no_other_for_long(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("bad")) as office:
        office.register()
        await office.notes("bad", 0)
        await office.notes("good", 9)
        async with office.delivering(posts_max=1):
            await office.post.wait_taken(*range(1, 11), session_id="good")
            assert trio.current_time() < 60


async def test_a_target_that_is_down_is_asked_rarely_however_many_sessions_wait(
    tmp_path, autojump_clock
):
    sessions = [f"s{number}" for number in range(200)]
    down = True

    def answer(sent):
        return REFUSED if down else TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register()
        for session_id in sessions:
            await office.notes(session_id, 0)
        async with office.delivering(posts_max=2, poll_seconds=60):
            await trio.sleep(3_600)
            assert len(office.post.sent) < 60  # each of the 200 alone would make 11

            down = False
            for session_id in sessions:
                await office.post.wait_taken(1, session_id=session_id)
        assert trio.current_time() < 3_600 + 600


async def test_a_target_that_hangs_holds_up_no_other_webhook(tmp_path, autojump_clock):
    async def answer(sent):
        if "slow" in sent.url:
            await trio.sleep_forever()
        return TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register(url="https://slow.test/")
        office.register(url="https://quick.test/")
        for number in range(20):
            await office.notes(f"s{number}", 3)
        async with office.delivering(posts_max=4):
            for number in range(20):
                await office.post.wait_taken(1, 2, 3, 4, session_id=f"s{number}")
            hanging = [sent for sent in office.post.sent if "slow" in sent.url]

    assert len(hanging) == 4
    assert {sent.url for sent in office.post.taken} == {"https://quick.test/"}


async def test_no_more_is_posted_at_once_than_the_limit_says(tmp_path, autojump_clock):
    async def answer(sent):
        await trio.sleep(1)
        return TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register()
        for number in range(10):
            await office.notes(f"s{number}", 0)
        async with office.delivering(posts_max=3):
            await office.post.wait_sent(10)

    assert office.post.at_once_max == 3


async def test_sessions_have_their_turns_although_one_has_very_much(tmp_path, autojump_clock):
    async def answer(sent):
        await trio.sleep(1)
        return TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register()
        await office.notes("much", 100)
        await office.notes("little", 1)
        async with office.delivering(posts_max=1, posts_per_turn=5):
            await office.post.wait_taken(1, 2, session_id="little")
            assert len(office.post.seqs("much")) <= 10
            await office.post.wait_taken(*range(1, 102), session_id="much")


async def test_more_sessions_than_are_remembered_all_get_their_turn(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register()
        for number in range(30):
            await office.notes(f"s{number}", 0)
        async with office.delivering(sessions_pending_max=4):
            for number in range(30):
                await office.post.wait_taken(1, session_id=f"s{number}")

    assert len(office.post.sent) == 30


async def test_a_deleted_session_is_forgotten(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a")) as office:
        office.register()
        await office.notes("a", 0)
        await office.notes("b", 0)
        async with office.delivering(poll_seconds=60):
            await office.post.wait_sent(3)
            await office.supervisor.delete_session("a")
            await trio.sleep(5_000)
            (delivery,) = office.dispatcher._deliveries.values()
            assert delivery.facts()["pending_sessions"] == 0


@pytest.mark.parametrize("restarted", [True, False], ids=["found at a restart", "meanwhile"])
async def test_what_a_softly_deleted_session_had_still_comes(tmp_path, autojump_clock, restarted):
    async with opened_office(tmp_path) as office:
        office.register()
        if restarted:
            await office.notes("a", 2)
            await office.supervisor.delete_session("a", soft=True)
            await trio.sleep(60)
        async with office.delivering(poll_seconds=60):
            if not restarted:
                await trio.sleep(1)
                await office.notes("a", 2)
                await office.supervisor.delete_session("a", soft=True)
            with trio.fail_after(300):
                await office.post.wait_taken(1, 2, 3, 4)
    types = [event["type"] for sent in office.post.taken for event in sent.told["data"]["events"]]

    assert types[-1] == "session_deleted"


async def test_messages_are_signed_with_the_secrets_of_the_time(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        webhook = office.register()
        (old,) = (stored.secret for stored in webhook.secrets)
        new = new_secret()
        office.file.change(
            webhook.id, lambda it: it.rotated(new, now_ns=office.clock(), keep_seconds=100)
        )
        async with office.delivering():
            await office.notes("a", 0)
            await office.post.wait_taken(1)
            await trio.sleep(100)
            await office.notes("a", 1)
            await office.post.wait_taken(1, 2)

    assert [sent.keys for sent in office.post.sent] == [[new, old], [new]]


async def test_failures_and_dead_letters_are_logged_without_secrets(tmp_path, autojump_clock):
    with structlog.testing.capture_logs() as logged:
        async with opened_office(tmp_path, failing("a", times=2)) as office:
            webhook = office.register(url="https://hook.test/secret-path")
            await office.notes("a", 0)
            async with office.delivering(attempts_max=2):
                while not office.letters(webhook):
                    await trio.sleep(1)

    told = [line for line in logged if line["event"].startswith("webhook")]
    assert [line["event"] for line in told] == [
        "webhook_failed",
        "webhook_failed",
        "webhook_dead_letter",
    ]
    assert {line["webhook"] for line in told} == {webhook.id}
    assert webhook.secrets[0].secret not in str(logged)
    assert "secret-path" not in str(logged)


async def test_a_webhook_tells_how_it_is_doing(tmp_path, autojump_clock):
    async with opened_office(tmp_path, failing("a", times=3)) as office:
        webhook = office.register()
        await office.notes("a", 1)
        async with office.delivering():
            await office.post.wait_sent(3)
            behind = office.dispatcher.facts(webhook.id)
            await office.post.wait_taken(1, 2)
            await trio.sleep(1)
            done = office.dispatcher.facts(webhook.id)

    assert (behind["delivering"], behind["pending_sessions"]) == (True, 1)
    assert behind["paused_seconds"] > 0
    assert behind["oldest_pending_seconds"] > 1
    assert (behind["last_status"], behind["last_error"]) == (500, "answered 500")
    assert (done["delivered_messages"], done["delivered_events"], done["failures"]) == (1, 2, 3)
    assert (done["pending_sessions"], done["paused_seconds"]) == (0, 0)


async def test_a_busy_target_is_obeyed_although_it_takes_something_else(tmp_path, autojump_clock):
    busy = True

    async def answer(sent):
        nonlocal busy
        if sent.session_id == "a" and busy:
            busy = False
            await trio.sleep(0.5)  # both are on their way by then
            return BUSY
        await trio.sleep(1)
        return TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register()
        await office.notes("a", 0)
        await office.notes("b", 0)
        async with office.delivering(poll_seconds=5):
            await office.post.wait_taken(1)
            await office.post.wait_taken(1, session_id="b")

    first, second = (sent.at for sent in office.post.sent if sent.session_id == "a")
    assert second - first >= 500


async def test_a_target_that_takes_something_is_left_alone_no_longer(tmp_path, autojump_clock):
    begun = 0

    async def answer(sent):
        nonlocal begun
        begun += 1
        if begun == 1:
            await trio.sleep(0.5)  # the second is on its way by then, and the third waits
            return BUSY
        await trio.sleep(1)
        return TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register()
        for session_id in ("a", "b", "c"):
            await office.notes(session_id, 0)
        async with office.delivering(posts_max=2, poll_seconds=600):
            for session_id in ("a", "b", "c"):
                await office.post.wait_taken(1, session_id=session_id)

    assert [sent.at for sent in office.post.sent[:3]] == [0, 0, 1]


async def test_what_comes_while_a_message_is_posted_is_not_forgotten(tmp_path, autojump_clock):
    async def answer(sent):
        await trio.sleep(10)
        return TAKEN

    async with opened_office(tmp_path, answer) as office:
        office.register()
        await office.notes("a", 0)
        async with office.delivering():
            await trio.sleep(5)
            await office.notes("a", 1)
            await office.post.wait_taken(1, 2)
            assert trio.current_time() < 60


async def test_more_changes_at_once_than_are_remembered_are_found_again(tmp_path, autojump_clock):
    async with opened_office(tmp_path) as office:
        office.register()
        async with office.delivering(sessions_pending_max=4):
            await trio.sleep(5)
            for number in range(30):
                await office.notes(f"s{number}", 0)
            for number in range(30):
                await office.post.wait_taken(1, session_id=f"s{number}")
            assert trio.current_time() < 60


async def test_a_session_that_cannot_be_read_holds_up_no_other(
    tmp_path, autojump_clock, monkeypatch
):
    async with opened_office(tmp_path) as office:
        office.register()
        await office.notes("bad", 0)
        await office.notes("good", 0)
        real = type(office.supervisor).handle
        broken = True

        def handle(self, session_id):
            if session_id == "bad" and broken:
                raise RuntimeError("cannot be read")
            return real(self, session_id)

        monkeypatch.setattr(type(office.supervisor), "handle", handle)
        with structlog.testing.capture_logs() as logged:
            async with office.delivering(posts_max=1):
                await office.post.wait_taken(1, session_id="good")
                await trio.sleep(5)
                assert office.post.seqs("bad") == []
                broken = False
                await office.post.wait_taken(1, session_id="bad")

    reasons = {line["reason"] for line in logged if line["event"] == "webhook_session_failed"}
    assert reasons == {"RuntimeError: cannot be read"}
