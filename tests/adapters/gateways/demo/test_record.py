from __future__ import annotations

import json

import pytest
from moorage.adapters.gateways.demo.record import Accepted, RecordWriter, digest_of, read_record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.jsonl"


def write(path, *lines):
    writer = RecordWriter(path)
    writer.write(*lines)
    writer.close()


def event(seq, digest="d"):
    return {"what": "event", "session": "s", "seq": seq, "digest": digest}


CONNECTED = {"what": "connected", "session": "s"}


def test_what_was_acknowledged_is_read_back(path):
    write(
        path,
        {"what": "accepted", "session": "s", "run_id": "r", "key": "k", "on_interrupt": "fail"},
        {"what": "cancelled", "run_id": "r", "took": True},
        CONNECTED,
        event(1, "abc"),
    )

    record = read_record(path)

    assert record.accepted == [Accepted("r", "s", "k", "fail")]
    assert record.cancelled == {"r": True}
    assert record.events == {("s", 1): "abc"}


def test_a_subscription_may_go_on_behind_any_acknowledgement_that_was_sent(path):
    sent = [{"what": "ack_sent", "session": "s", "seq": seq} for seq in (2, 4)]
    write(path, CONNECTED, event(1), event(2), sent[0], event(3), event(4), sent[1])
    write(path, {"what": "acked", "session": "s", "seq": 2}, CONNECTED, event(3))

    first, second = read_record(path).deliveries["s"]

    assert (first.cursors, first.seqs) == ({0}, [1, 2, 3, 4])
    assert (second.cursors, second.seqs) == ({2, 4}, [3])


def test_an_event_that_comes_again_changed_is_noticed(path):
    write(path, CONNECTED, event(1, "a"), CONNECTED, event(1, "a"), CONNECTED, event(1, "b"))

    assert read_record(path).changed == [("s", 1)]


def test_lines_are_on_disk_when_the_call_returns(path):
    writer = RecordWriter(path)
    writer.write(CONNECTED)

    assert json.loads(path.read_text()) == CONNECTED
    writer.close()


def test_an_unknown_line_is_refused(path):
    write(path, {"what": "noise"})

    with pytest.raises(ValueError, match="noise"):
        read_record(path)


def test_a_fingerprint_depends_on_everything_but_the_order_of_keys():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
