from __future__ import annotations

import json

from moorage.adapters.sinks.webhook import PostLimits
from moorage.adapters.sinks.webhook.messages import (
    events_message,
    first_batch,
    message_id,
    ping_message,
    whole_batch,
)
from moorage.runtime import Event
from moorage.runtime.reversible_json import event_from_json

NOON_NS = 1_700_000_000_123_456_789


def events(count, type="note", data=None):
    return [Event("a", seq, NOON_NS + seq, type, None, data) for seq in range(1, count + 1)]


def message_about(several, last_seq=9):
    batch = whole_batch(several, None)
    return events_message("hook", batch, session_id="a", first_seq=1, last_seq=last_seq)


def test_a_message_holds_events_that_can_be_read_back():
    several = events(3, data={"bytes": b"\0\xff", "text": "\u2028 \u00e4"})
    message = message_about(several)
    told = json.loads(message.body)

    assert (told["type"], told["timestamp"]) == ("moorage.events", "2023-11-14T22:13:20.123Z")
    assert {k: v for k, v in told["data"].items() if k != "events"} == {
        "session_id": "a",
        "first_seq": 1,
        "last_seq": 9,
    }
    assert [event_from_json(event) for event in told["data"]["events"]] == several
    assert message.events == 3


def test_the_same_range_has_the_same_id_and_any_other_another():
    ranges = [("h", "a", 1, 2), ("h", "a", 1, 3), ("h", "a", 2, 2), ("h", "b", 1, 2), ("i",) * 2]
    ids = {message_id(*some) if len(some) == 4 else message_id(*some, 1, 2) for some in ranges}

    assert len(ids) == len(ranges)
    assert message_id("h", "a", 1, 2) == message_id("h", "a", 1, 2)
    assert message_id("h", "a", 1, 2).startswith("msg_")


def test_a_batch_ends_at_its_number_of_events():
    batch = first_batch(events(10), None, PostLimits(batch_events_max=4))

    assert (batch.seen, len(batch.lines)) == (4, 4)


def test_a_batch_ends_at_its_bytes_and_a_larger_event_goes_alone():
    several = events(5, data="x" * 300)

    assert first_batch(several, None, PostLimits(batch_bytes_max=1_000)).seen == 2
    assert first_batch(several, None, PostLimits(batch_bytes_max=10)).seen == 1


def test_events_of_other_types_are_passed_over_and_done_with():
    mixed = [*events(3, type="other"), *events(3), *events(2, type="other")]

    batch = first_batch(mixed, {"note"}, PostLimits(batch_events_max=3))
    none = first_batch(mixed, {"nothing"}, PostLimits())

    assert (batch.seen, len(batch.lines)) == (8, 3)
    assert (none.seen, none.lines) == (8, [])


def test_a_ping_says_that_it_is_one():
    message = ping_message("hook", NOON_NS)

    assert json.loads(message.body) == {
        "type": "moorage.ping",
        "timestamp": "2023-11-14T22:13:20.123Z",
        "data": {"webhook": "hook"},
    }
    assert message.events == 0


def test_a_time_beyond_the_calendar_does_no_harm():
    far = Event("a", 1, 2**63 - 1, "note", None, None)
    never = Event("a", 1, -(2**62), "note", None, None)

    for event in (far, never):
        assert json.loads(message_about([event]).body)["timestamp"].endswith("Z")


def test_what_was_a_message_is_one_again_whatever_its_size():
    mixed = [*events(3, type="other"), *events(300), *events(2, type="other")]

    batch = whole_batch(mixed, {"note"})

    assert (batch.seen, len(batch.lines), batch.time_ns) == (305, 300, NOON_NS + 300)
    assert whole_batch(mixed, {"nothing"}).lines == []
