from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.problems import problem_of
from moorage.adapters.gateways.http.streaming import ServerSentEvents
from moorage.adapters.gateways.http_client import RequestRefused
from moorage.adapters.gateways.http_client.event_stream import Ended, EventStreamReader, Failed, Led
from moorage.runtime import BufferFull, Event, UnknownSession

FRAMING = ServerSentEvents()
EVENTS = [
    Event(
        session_id="a",
        seq=seq,
        time_ns=1,
        type="note",
        run_id=None,
        data={"text": "line\n\nline ü", "b": b"\n\n"},
        metadata=None,
    )
    for seq in range(1, 4)
]
PROBLEM = problem_of(UnknownSession("a"))
CONTENT = b"".join(
    [
        FRAMING.opening(None, 2.0),
        FRAMING.opening(7, 2.0),
        *map(FRAMING.event, EVENTS),
        FRAMING.heartbeat(None),
        FRAMING.heartbeat(7),
        FRAMING.end("draining", 8),
        FRAMING.problem(PROBLEM),
    ]
)
ITEMS = [*EVENTS, Led(None), Led(7), Ended("draining", 8), Failed(PROBLEM.document())]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_what_the_gateway_sends_is_read_however_it_is_cut(size):
    reader = EventStreamReader(event_bytes_max=1_000)

    got = [
        item
        for start in range(0, len(CONTENT), size)
        for item in reader.feed(CONTENT[start : start + size])
    ]

    assert got == ITEMS


def test_nothing_comes_of_an_event_that_is_not_complete():
    reader = EventStreamReader(event_bytes_max=1_000)

    assert reader.feed(FRAMING.event(EVENTS[0])[:-1]) == []
    assert reader.feed(b"\n") == [EVENTS[0]]


def test_an_event_without_an_end_is_refused_at_the_limit():
    reader = EventStreamReader(event_bytes_max=100)
    reader.feed(b"x" * 100)

    with pytest.raises(BufferFull, match="event_bytes_max"):
        reader.feed(b"x")


@pytest.mark.parametrize("content", [b"data: {}\n\n", b"data: <html>\n\n", b"id: x\ndata: 1\n\n"])
def test_what_no_gateway_sends_is_refused(content):
    with pytest.raises(RequestRefused, match="right address"):
        EventStreamReader(event_bytes_max=1_000).feed(content)
