from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.gateways.http.durable_streams import states
from moorage.adapters.gateways.http.durable_streams.refusals import (
    ProducerGap,
    StaleEpoch,
    StreamDamaged,
)
from moorage.adapters.gateways.http.durable_streams.states import Producer, StreamState, Write
from moorage.adapters.gateways.http.problems import MalformedRequest
from moorage.runtime import Event, NewEvent


class Log:
    """Events as a session numbers them, and the state that has followed them all."""

    def __init__(self):
        self.events = [Event("s", 1, 0, "session_opened", None, {})]
        self.state = StreamState()
        self.append([NewEvent(states.CREATED, {})])

    def append(self, new):
        for event in new:
            numbered = Event("s", len(self.events) + 1, 0, event.type, None, event.data)
            self.events.append(numbered)
            self.state.apply(numbered)

    def write(self, **facts):
        self.append(self.state.events_of(Write(**facts)))

    def replayed(self):
        """From the latest sum, as a process does that knows nothing."""
        own = [event for event in self.events if event.type in states.STREAM_TYPES]
        latest = max(
            index
            for index, event in enumerate(own)
            if event.type in (states.CREATED, states.CHECKPOINTED)
        )
        state = StreamState()
        for event in own[latest:]:
            state.apply(event)
        return state, len(own) - latest


def test_the_last_event_of_an_append_says_what_else_it_changes():
    write = Write(contents=("a", "b"), closes=True, producer=Producer("p", 1, 0), writer_seq="7")

    first, last = write.events()

    assert first == NewEvent(states.APPENDED, {"content": "a"})
    assert last.data == {
        "content": "b",
        "end": True,
        "closes": True,
        "producer": ["p", 1, 0],
        "writer_seq": "7",
    }


def test_what_only_closes_has_an_event_of_its_own_and_what_does_nothing_has_none():
    assert [event.type for event in Write(closes=True).events()] == [states.CLOSED]
    assert Write().events() == []


def test_the_end_is_behind_the_last_content_and_not_behind_the_closing():
    log = Log()
    log.write(contents=("a",))
    log.write(closes=True)

    assert (log.state.tail_seq, log.state.head_seq, log.state.closed) == (3, 4, True)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(1, 200), st.sampled_from([None, "a", "b"]), st.booleans()
        ),
        max_size=30,
    )
)
def test_a_process_that_knows_nothing_reads_a_few_events_and_knows_all(writes):
    log, last = Log(), {}
    for producer, count, writer_seq, closes in writes:
        _, seq = last.pop(f"p{producer}", (0, -1))
        last[f"p{producer}"] = 0, seq + 1
        log.write(
            contents=("x",) * count,
            producer=Producer(f"p{producer}", 0, seq + 1),
            writer_seq=writer_seq,
            closes=closes,
        )
    state, read = log.replayed()

    assert state == log.state
    assert list(state.producers.items()) == list(last.items())
    assert state.closed == any(closes for *_, closes in writes)
    assert state.writer_seq == ([None] + [seq for *_, seq, _ in writes if seq is not None])[-1]
    assert state.tail_seq == max(
        (event.seq for event in log.events if event.type == states.APPENDED), default=0
    )
    assert read <= states.CHECKPOINT_EVENTS + 1


def test_the_producer_that_was_quiet_for_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(states, "PRODUCERS_MAX", 2)
    log = Log()
    for id in "abac":
        seq = log.state.producers.get(id, (0, -1))[1]
        log.write(contents=("x",), producer=Producer(id, 0, seq + 1))

    assert log.state.producers == {"a": (0, 1), "c": (0, 0)}


def test_a_retry_is_told_from_something_new():
    state = StreamState(producers={"p": (2, 5)})

    assert state.is_duplicate(Producer("p", 2, 5))
    assert state.is_duplicate(Producer("p", 2, 0))
    assert not state.is_duplicate(Producer("p", 2, 6))
    assert not state.is_duplicate(Producer("p", 3, 0))
    assert not state.is_duplicate(Producer("q", 9, 0))


def test_gaps_and_old_epochs_are_refused_with_what_was_expected():
    state = StreamState(producers={"p": (2, 5)})

    with pytest.raises(ProducerGap) as gap:
        state.is_duplicate(Producer("p", 2, 7))
    with pytest.raises(ProducerGap) as first:
        state.is_duplicate(Producer("q", 0, 1))
    with pytest.raises(StaleEpoch) as stale:
        state.is_duplicate(Producer("p", 1, 6))
    with pytest.raises(MalformedRequest, match="begins with 0"):
        state.is_duplicate(Producer("p", 3, 1))

    assert gap.value.headers == {"producer-expected-seq": "6", "producer-received-seq": "7"}
    assert first.value.headers["producer-expected-seq"] == "0"
    assert stale.value.headers == {"producer-epoch": "2"}


SUM = {"created_seq": 2, "tail_seq": 0, "closed": False, "writer_seq": None, "producers": []}


@pytest.mark.parametrize(
    ("type", "data"),
    [
        (states.APPENDED, None),
        (states.APPENDED, {"end": True}),
        (states.APPENDED, {"content": 1}),
        (states.APPENDED, {"content": "x", "writer_seq": 1}),
        (states.APPENDED, {"content": "x", "producer": ["p", 0, "0"]}),
        (states.APPENDED, {"content": "x", "producer": [[], 0, 0]}),
        (states.CLOSED, "closed"),
        (states.CHECKPOINTED, {}),
        (states.CHECKPOINTED, SUM | {"tail_seq": -1}),
        (states.CHECKPOINTED, SUM | {"producers": 1}),
    ],
)
def test_an_event_that_was_not_recorded_as_here_is_told_and_not_taken_for_one(type, data):
    log = Log()
    with pytest.raises(StreamDamaged, match=type) as refused:
        log.append([NewEvent(type, data)])

    assert (refused.value.seq, refused.value.code) == (3, "stream_damaged")
