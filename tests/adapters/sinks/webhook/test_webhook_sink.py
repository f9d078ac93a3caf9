from __future__ import annotations

import json
from functools import partial

import pytest
import structlog
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.sinks import Backoff, CallbackSink, SinkFailed, deliver
from moorage.adapters.sinks.webhook import (
    AddressRefused,
    PostFailed,
    PostLimits,
    WebhookSink,
    new_secret,
    verify,
)
from moorage.runtime import Event, InvalidArgument, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.sinks.webhook.target import LOOPBACK, Reply, listening, replies

SECRET = new_secret()
EVENTS = [Event("a", seq, seq, "note", None, {"n": seq}) for seq in range(1, 6)]


def sink_to(target, **options):
    limits = PostLimits(batch_events_max=2, post_seconds=60)
    return WebhookSink(target.url, SECRET, allowed_networks=LOOPBACK, limits=limits, **options)


def told(received):
    verify(received.body, received.headers, SECRET)
    return [event["seq"] for event in json.loads(received.body)["data"]["events"]]


def arrived(target):
    return [seq for received in target.received for seq in told(received)]


async def test_events_arrive_in_order_in_signed_messages():
    async with listening() as target:
        sink = sink_to(target)
        async with sink.opened():
            await sink.write(EVENTS)

    assert [told(received) for received in target.received] == [[1, 2], [3, 4], [5]]


async def test_what_was_taken_before_a_failure_is_not_sent_again_and_ids_stay():
    async with listening(replies(Reply(), Reply(500), Reply())) as target:
        sink = sink_to(target)
        async with sink.opened():
            with pytest.raises(PostFailed, match=r"127.0.0.1: answered 500") as caught:
                await sink.write(EVENTS)
            await sink.write(EVENTS)

    ids = [received.headers["webhook-id"] for received in target.received]
    assert [told(received) for received in target.received] == [[1, 2], [3, 4], [3, 4], [5]]
    assert (ids[1] == ids[2], len(set(ids))) == (True, 3)
    assert (caught.value.status, caught.value.retryable) == (500, True)


@pytest.mark.parametrize("status", [410, 422])
async def test_a_target_that_never_takes_it_is_given_up(status):
    async with listening(replies(Reply(status))) as target:
        sink = sink_to(target)
        async with sink.opened():
            with pytest.raises(SinkFailed, match=f"answered {status}"):
                await sink.write(EVENTS)


async def test_a_busy_target_is_left_alone_for_as_long_as_it_asks(mock_clock):
    async with listening(replies(Reply(429, {"retry-after": "60"}))) as target:
        sink = WebhookSink(target.url, SECRET, allowed_networks=LOOPBACK)
        async with sink.opened(), trio.open_nursery() as nursery:
            ended = trio.Event()

            async def write():
                with pytest.raises(PostFailed, match="answered 429"):
                    await sink.write(EVENTS)
                ended.set()

            nursery.start_soon(write)
            await target.wait_received(1)
            while not _due_in(60):
                await trio.lowlevel.checkpoint()
            assert not ended.is_set()
            mock_clock.jump(60)
            await ended.wait()


def _due_in(seconds):
    """Whether what is due next is so many seconds away."""
    return trio.lowlevel.current_statistics().seconds_to_next_deadline > seconds - 1


@pytest.mark.parametrize("secrets", ["", [], "whsec_short", [SECRET, "whsec_short"]])
def test_a_bad_secret_is_refused(secrets):
    with pytest.raises(InvalidArgument, match="a secret must be"):
        WebhookSink("https://example.com/hook", secrets)


def test_a_private_address_is_refused_at_once():
    with pytest.raises(AddressRefused):
        WebhookSink("https://169.254.169.254/latest", SECRET)


async def test_one_that_fails_or_hangs_harms_no_other_sink_and_no_run():
    seen, all_seen = [], trio.Event()

    def see(event):
        seen.append(event)
        if event.type == "run_completed":
            all_seen.set()

    async def never(number, received):
        await trio.sleep_forever()

    async with (
        listening() as works,
        listening(never) as hangs,
        listening(replies(Reply(500))) as fails,
        open_supervisor(MemoryStore(), ScriptedAgent()) as supervisor,
    ):
        session = await supervisor.session("a")
        sinks = {
            "works": sink_to(works, name="works"),
            "hangs": sink_to(hangs, name="hangs"),
            "fails": sink_to(fails, name="fails"),
            "callback": CallbackSink(see),
        }
        backoff = Backoff(first_seconds=0.01, attempts_max=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(deliver, session, sinks, backoff=backoff))
            with structlog.testing.capture_logs() as logged:
                outcome = await session.execute("hello")
                head_seq = (await session.info()).head_seq
                while head_seq not in arrived(works):  # in however many messages
                    await works.wait_received(len(works.received) + 1)
                await all_seen.wait()
                await fails.wait_received(3)
                await hangs.wait_received(1)
            nursery.cancel_scope.cancel()

    assert outcome.state == "completed"
    assert arrived(works) == list(range(1, head_seq + 1))
    assert [event.seq for event in seen] == list(range(1, head_seq + 1))
    assert SECRET not in str(logged)
    assert {line["sink"] for line in logged if line["event"] == "sink_failed"} >= {"fails"}
