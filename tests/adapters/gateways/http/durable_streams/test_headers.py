from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.durable_streams import headers
from moorage.adapters.gateways.http.durable_streams.creating import Fork
from moorage.adapters.gateways.http.durable_streams.states import Producer
from moorage.adapters.gateways.http.problems import MalformedRequest

PRODUCER = {"producer-id": "p", "producer-epoch": "0", "producer-seq": "0"}


def test_what_is_not_told_is_none():
    assert headers.producer({}) is None
    assert headers.ttl_seconds({}) is None
    assert headers.expires_at({}) is None
    assert headers.fork({}) is None
    assert headers.writer_seq({}) is None
    assert not headers.closes({})


def test_what_is_told_is_read():
    assert headers.producer(PRODUCER | {"producer-seq": "9007199254740991"}) == Producer(
        "p", 0, 2**53 - 1
    )
    assert headers.ttl_seconds({"stream-ttl": "0"}) == 0
    assert headers.writer_seq({"stream-seq": "a b"}) == "a b"
    assert headers.closes({"stream-closed": "TRUE"})
    assert not headers.closes({"stream-closed": "yes"})


@pytest.mark.parametrize("text", ["", "+1", "01", "1.0", "1e3", "-1", "9007199254740992", "\uff11"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(MalformedRequest, match="Stream-TTL"):
        headers.ttl_seconds({"stream-ttl": text})
    with pytest.raises(MalformedRequest, match="Producer-Seq"):
        headers.producer(PRODUCER | {"producer-seq": text})


@pytest.mark.parametrize("missing", list(PRODUCER))
def test_a_producer_is_told_wholly_or_not_at_all(missing):
    with pytest.raises(MalformedRequest, match="is missing"):
        headers.producer({name: text for name, text in PRODUCER.items() if name != missing})
    with pytest.raises(MalformedRequest):
        headers.producer(PRODUCER | {missing: ""})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T01:00:01+01:00", 1),
        ("1970-01-01t00:00:01.5z", 1.5),
        ("1970-01-01T00:00:00.123456789-00:00", 0.123),
    ],
)
def test_a_moment_is_read_to_the_millisecond(text, seconds):
    assert headers.expires_at({"stream-expires-at": text}) == (text, seconds * 1e9)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2030-01-01", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z", "20300101T000000Z"],
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(MalformedRequest, match="RFC 3339"):
        headers.expires_at({"stream-expires-at": text})


def test_a_source_is_told_by_its_path_or_its_url():
    told = {
        "stream-forked-from": "https://h/v1/stream/a%2Fb?x=1",
        "stream-fork-offset": "now",
        "stream-fork-sub-offset": "3",
    }

    assert headers.fork(told) == Fork(source="a/b", offset="now", sub_offset=3)
    assert headers.fork({"stream-forked-from": "/v1/stream/a"}) == Fork(source="a")


@pytest.mark.parametrize("text", ["", "a", "/v1/stream/", "/v1/stream/a/b", "/v1/stream/%ff"])
def test_what_is_no_path_of_a_stream_is_refused(text):
    with pytest.raises(MalformedRequest, match="Stream-Forked-From"):
        headers.fork({"stream-forked-from": text})


@pytest.mark.parametrize("name", ["stream-fork-offset", "stream-fork-sub-offset"])
def test_a_place_without_a_source_is_refused(name):
    with pytest.raises(MalformedRequest, match="without Stream-Forked-From"):
        headers.fork({name: "0"})
