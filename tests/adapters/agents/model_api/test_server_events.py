from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.agents.model_api.server_events import ServerEvents

EVENTS = [{"type": "a", "text": "über\n\ndata: x"}, {"type": "b"}, {"deep": [{"er": None}]}]
BODY = b"".join(
    f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in EVENTS
)


def fed(chunks: list[bytes]) -> list[dict[str, object]]:
    parser = ServerEvents()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_all_events_of_one_chunk_come_at_once() -> None:
    assert fed([BODY]) == EVENTS


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_it_does_not_matter_where_the_network_cuts(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(BODY)]
    chunks = [BODY[a:b] for a, b in itertools.pairwise(places)]

    assert fed(chunks) == EVENTS


def test_lines_may_end_with_carriage_returns() -> None:
    assert fed([BODY.replace(b"\n", b"\r\n")]) == EVENTS


def test_comments_names_and_the_end_mark_are_no_events() -> None:
    body = b': hello\nid: 7\nretry: 5\n\ndata: {"a": 1}\n\ndata: [DONE]\n\n'

    assert fed([body]) == [{"a": 1}]


def test_the_end_mark_says_that_all_was_said() -> None:
    parser = ServerEvents()
    parser.feed(b'data: {"a": 1}\n\n')
    assert not parser.done

    parser.feed(b"data: [DONE]\n\n")

    assert parser.done


def test_data_over_several_lines_is_one_event() -> None:
    assert fed([b'data: {"a":\ndata: 1}\n\n']) == [{"a": 1}]


def test_an_event_without_its_last_empty_line_comes_at_the_end() -> None:
    parser = ServerEvents()
    parser.feed(b'data: {"a": 1}')

    assert parser.close() == [{"a": 1}]


def test_half_an_event_at_the_end_is_none() -> None:
    parser = ServerEvents()
    parser.feed(b'data: {"a": ')

    assert parser.close() == []


@pytest.mark.parametrize("data", [b"no json", b'{"a": 1} {"b": 2}', b"[1]", b"7", b"1,2", b"\xff"])
def test_what_is_no_json_object_ends_the_stream_and_is_quoted(data: bytes) -> None:
    parser = ServerEvents()

    events = parser.feed(b'data: {"good": 1}\n\ndata: ' + data + b'\n\ndata: {"late": 1}\n\n')

    assert events == [{"good": 1}]
    assert "an event is no JSON" in str(parser.failure)
    assert parser.feed(b'data: {"later": 1}\n\n') == []


def test_an_event_without_an_end_is_given_up() -> None:
    parser = ServerEvents(event_bytes_max=100)

    for _ in range(20):
        assert parser.feed(b"data: 0123456789\n") == []

    assert "more than 100 bytes" in str(parser.failure)
