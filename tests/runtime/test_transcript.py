"""A transcript is the conversation that a session's events are, folded one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.runtime.codec import copy_plain, pack, unpack
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import AGENT_TYPES, RUN_TYPES, SESSION_TYPES, Event
from moorage.runtime.marks import Checkpoint, Label
from moorage.runtime.transcript import TRANSCRIPT_TYPES, Transcript

from tests.runtime.talks import Talk


def test_deltas_are_collapsed_into_the_message_that_was_received() -> None:
    talk = Talk().start("r").sent("r", "q").streamed("r", "a", "b", "c")
    during = talk.lines()

    talk.received("r", "abc")

    assert during == ["u:q", "a:abc..."]
    assert talk.lines() == ["u:q", "a:abc"]
    assert len(talk.transcript.state()["entries"]) == 3


def test_an_event_that_was_seen_changes_nothing() -> None:
    talk = Talk().turn("a", "q", "a")
    before = talk.transcript.state()

    talk.transcript.extend(talk.events)

    assert talk.transcript.state() == before
    assert talk.transcript.seq == talk.seq


def test_other_types_and_data_that_is_no_map_change_nothing() -> None:
    talk = Talk().turn("a", "q", "a")
    lines = talk.lines()

    talk.add("provider_event", "a", provider="p").tell("message_sent", "not a map")
    talk.add("tool_call_started").add("session_labelled").add("checkpoint_created")
    talk.add("session_forked").add("session_restored").add("session_restored", to_seq=10_000)
    talk.add("message_streamed", delta=7)

    assert talk.lines() == lines


def test_a_session_that_is_made_again_under_its_id_begins_with_nothing() -> None:
    talk = Talk().turn("a", "q", "a").add("session_labelled", label="l", seq=1)

    talk.add("session_opened").turn("b", "q2", "a2")

    assert talk.lines() == ["u:q2", "a:a2"]
    assert talk.transcript.labels == {}


def test_what_a_sub_agent_says_belongs_to_its_call() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1")

    talk.tell("message_received", {"content": "inner"}, "r", {"parent_tool_call_id": "c1"})
    talk.tell("message_received", {"content": "outer"}, "r", {"provider": "p"})

    assert talk.lines() == ["u:q", "a:c1?", "a:outer"]


def test_the_time_of_a_message_is_the_provider_s_if_it_told() -> None:
    talk = Talk().tell("message_sent", {"content": "a"}, None, {"provider_time_ns": 5})

    assert talk.transcript.messages()[0].time_ns == 5


@pytest.mark.parametrize("end", ["run_failed", "run_cancelled", "run_timed_out", "run_interrupted"])
def test_runs_that_did_not_complete_keep_what_was_said(end: str) -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1").streamed("r", "I")

    talk.add(end, "r", error={"code": "x", "message": "y"}).turn("s", "q2", "a2")

    assert talk.lines() == ["u:q", "a:c1?", "a:I...", "u:q2", "a:a2"]
    assert talk.context() == ["u:q", "a:c1?", "t:c1=interrupted!", "a:I...", "u:q2", "a:a2"]


def test_a_run_that_failed_before_it_said_anything_is_told_by_its_input() -> None:
    talk = Talk().start("r", {"messages": [{"role": "user", "content": "q"}]})

    talk.add("run_failed", "r", error={"code": "no_key", "message": "no key"})

    assert talk.lines() == ["u:q"]


def test_a_run_that_was_never_started_is_not_told() -> None:
    talk = Talk().add("run_submitted", "r", input="q").add("run_cancelled", "r")

    assert talk.lines() == []
    assert talk.transcript.unfinished == []


def test_a_run_whose_request_was_trimmed_away_is_told_by_what_is_left() -> None:
    talk = Talk().again("r").received("r", "a").completed("r").add("run_failed", "unknown")

    assert talk.lines() == ["a:a"]


def test_other_unfinished_runs_are_not_in_a_context_and_the_own_one_is_last() -> None:
    talk = Talk().turn("a", "qa", "aa").start("own").sent("own", "qo")
    talk.start("b").sent("b", "qb").received("b", "ab").sent(None, "by the way")

    assert talk.context("own") == ["u:qa", "a:aa", "u:by the way", "u:qo"]
    assert talk.context() == ["u:qa", "a:aa", "u:by the way"]
    assert talk.completed("b").context("own")[-3:] == ["a:ab", "u:by the way", "u:qo"]
    assert talk.transcript.unfinished == ["own"]
    assert talk.context("unknown") == talk.context()


def test_calls_of_a_run_that_have_no_result_are_pending() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1", "c2").called("r", "c2")

    pending = talk.returned("r", "c1").transcript.pending_calls("r")

    assert [(call.tool_call_id, call.started) for call in pending] == [("c2", True)]
    assert talk.transcript.pending_calls("unknown") == []


def test_restoring_tells_the_branch_up_to_there_and_what_follows() -> None:
    talk = Talk().turn("a", "q1", "a1")
    seq = talk.seq

    talk.turn("b", "q2", "a2").add("session_restored", to_seq=seq).turn("c", "q3", "a3")

    assert talk.lines() == ["u:q1", "a:a1", "u:q3", "a:a3"]
    assert talk.context() == talk.lines()
    assert talk.transcript.is_active(seq)
    assert not talk.transcript.is_active(seq + 1)


def test_one_can_go_back_to_a_branch_that_was_left() -> None:
    talk = Talk().turn("a", "q1", "a1")
    first = talk.seq
    left = talk.turn("b", "q2", "a2").seq
    talk.add("session_restored", to_seq=first, branch="other").turn("c", "q3", "a3")

    talk.add("session_restored", to_seq=left, branch=7)

    assert talk.lines() == ["u:q1", "a:a1", "u:q2", "a:a2"]
    assert [(b.name, b.from_seq, b.active) for b in talk.transcript.branches] == [
        (None, 0, False),
        ("other", first, False),
        (None, left, True),
    ]


def test_a_run_that_is_torn_by_going_back_is_told_up_to_there() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1")
    seq = talk.seq
    talk.returned("r", "c1").received("r", "done").completed("r")

    talk.add("session_restored", to_seq=seq)

    assert talk.context() == ["u:q", "a:c1?", "t:c1=interrupted!"]


def test_of_a_stream_that_is_cut_by_going_back_nothing_is_told() -> None:
    talk = Talk().start("r").sent("r", "q").streamed("r", "ab")
    seq = talk.seq
    talk.streamed("r", "cd").add("run_interrupted", "r")

    assert talk.lines() == ["u:q", "a:abcd..."]
    assert talk.add("session_restored", to_seq=seq).lines() == ["u:q"]


def test_what_an_agent_sends_itself_is_kept_once() -> None:
    talk = Talk().start("r", "a long question").sent("r", "a long question")

    assert str(talk.transcript.state()).count("a long question") == 1


def test_a_stream_that_goes_on_after_going_back_is_another_one() -> None:
    talk = Talk().start("r").sent("r", "q").streamed("r", "left")

    talk.add("session_restored", to_seq=0).streamed("r", "new")

    assert talk.lines() == ["a:new..."]


def test_a_clear_forgets_messages_and_keeps_settings() -> None:
    talk = Talk().add("conversation_configured", model="m", tools=["t"]).turn("a", "q1", "a1")
    before = talk.seq

    talk.add("conversation_cleared").turn("b", "q2", "a2")

    assert talk.lines() == ["u:q2", "a:a2"]
    assert talk.transcript.settings == {"model": "m", "tools": ["t"]}
    assert talk.add("session_restored", to_seq=before).lines() == ["u:q1", "a:a1"]


def test_settings_add_up_along_the_branch_and_none_takes_one_out() -> None:
    talk = Talk().add("conversation_configured", model="m", system_prompt="s")
    talk.add("conversation_configured", model="n", system_prompt=None)

    assert talk.transcript.settings == {"model": "n"}
    assert talk.add("session_restored", to_seq=1).transcript.settings == {
        "model": "m",
        "system_prompt": "s",
    }


def test_going_back_before_a_compaction_brings_back_what_it_summed_up() -> None:
    talk = Talk().turn("a", "q1", "a1")
    seq = talk.seq
    talk.add("context_compacted", summary="s", first_kept_seq=seq + 1)
    compacted = talk.context()

    talk.add("session_restored", to_seq=seq)

    assert [line[-1] for line in compacted] == ["s"]
    assert talk.transcript.compaction is None
    assert talk.context() == ["u:q1", "a:a1"]


def test_the_last_label_of_a_name_counts_and_can_be_taken_away() -> None:
    talk = Talk().turn("a", "q1", "a1")
    talk.add("session_labelled", label="start", seq=1)
    talk.add("session_labelled", label="here", seq=5, description="the answer")
    talk.add("session_labelled", label="start", seq=2)
    both = talk.transcript.labels

    talk.add("session_labelled", label="start", seq=2, removed=True)

    assert both == {
        "here": Label("here", 5, "the answer", 107),
        "start": Label("start", 2, None, 108),
    }
    assert list(talk.transcript.labels) == ["here"]


def test_since_tells_what_came_behind_a_seq_or_label() -> None:
    talk = Talk().turn("a", "q1", "a1")
    talk.add("session_labelled", label="here", seq=talk.seq).turn("b", "q2", "a2")
    messages = talk.transcript.messages()

    assert talk.transcript.since("here") == messages[2:]
    assert talk.transcript.since(messages[0].seq) == messages[1:]
    with pytest.raises(InvalidArgument, match="no label 'there'; there are: here"):
        talk.transcript.since("there")
    with pytest.raises(InvalidArgument, match="there are: none"):
        Transcript().since("there")


def test_checkpoints_and_forks_are_listed() -> None:
    talk = Talk().add(
        "checkpoint_created", checkpoint_id="k", seq=3, checksum="c", metadata={"a": 1}
    )
    talk.add("session_forked", session_id="child", seq=3)

    assert talk.transcript.checkpoints == {"k": Checkpoint("k", 3, "c", {"a": 1}, None, 101)}
    assert talk.transcript.forks == [("child", 3)]


def test_a_checksum_is_over_the_content_of_the_branch() -> None:
    one, other = Talk().turn("a", "q", "a").turn("b", "q2", "a2"), Talk().turn("a", "q", "A")

    at_5 = one.transcript.checksum(5)

    assert at_5 == Talk().turn("a", "q", "a").transcript.checksum(5)
    assert at_5 != other.transcript.checksum(5)
    assert at_5 != one.transcript.checksum(one.seq)
    assert one.add("session_restored", to_seq=5).transcript.checksum(5) == at_5


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="version 9 and this code reads 1"):
        Transcript.from_state({**Transcript().state(), "version": 9})


def test_every_type_that_is_folded_is_of_the_vocabulary() -> None:
    assert TRANSCRIPT_TYPES <= AGENT_TYPES | RUN_TYPES | SESSION_TYPES


IDS = st.sampled_from(["a", "b", None])
CALLS = st.sampled_from(["c1", "c2"])
STEPS: list[Any] = [
    st.tuples(st.just("start"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("again"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("sent"), IDS, st.just("q")),
    st.tuples(st.just("streamed"), IDS, st.just("x"), st.just("y")),
    st.tuples(st.just("received"), IDS, st.just("m")),
    st.tuples(st.just("received"), IDS, st.just(""), CALLS, CALLS),
    st.tuples(st.just("called"), IDS, CALLS),
    st.tuples(st.just("returned"), IDS, CALLS),
    st.tuples(st.just("asked"), st.sampled_from(["a", "b"]), CALLS),
    st.tuples(st.just("completed"), st.sampled_from(["a", "b"]), st.just("out")),
    st.tuples(st.just("restored"), st.integers(0, 40)),
    st.tuples(st.just("cleared")),
    st.tuples(st.just("compacted"), st.integers(0, 40)),
]


def play(steps: list[tuple[Any, ...]]) -> Talk:
    """The steps that are possible: a run's only between its start and its end."""
    talk = Talk()
    begun: set[str] = set()
    for name, *rest in steps:
        run_id = rest[0] if rest and isinstance(rest[0], str) else None
        if run_id is not None and (name == "start") is (run_id in begun):
            continue
        if run_id is not None and name != "start" and run_id not in talk.transcript.unfinished:
            continue
        if name == "start":
            begun.add(rest[0])
        if name == "restored":
            talk.add("session_restored", to_seq=rest[0], summary="s")
        elif name == "cleared":
            talk.add("conversation_cleared")
        elif name == "compacted":
            talk.add("context_compacted", summary="s", first_kept_seq=rest[0])
        else:
            getattr(talk, name)(*rest)
    return talk


def told(transcript: Transcript) -> Any:
    return (transcript.messages(), transcript.context("a"), transcript.context())


@settings(max_examples=100)
@given(st.lists(st.one_of(STEPS), max_size=30), st.integers(0, 60))
def test_it_is_the_same_at_once_one_by_one_and_from_a_state(steps: Any, cut: int) -> None:
    talk = play(steps)

    at_once = Transcript().extend(copies(talk.events))
    stopped = Transcript().extend(copies(talk.events[:cut]))
    resumed = Transcript.from_state(unpack(pack(stopped.state()))).extend(copies(talk.events))

    assert told(at_once) == told(talk.transcript) == told(resumed)
    assert at_once.state() == resumed.state()


def copies(events: list[Event]) -> list[Event]:
    return [
        Event(e.session_id, e.seq, e.time_ns, e.type, e.run_id, copy_plain(e.data), e.metadata)
        for e in events
    ]


@settings(max_examples=100)
@given(st.lists(st.one_of(STEPS), max_size=30))
def test_in_a_context_every_call_is_followed_by_its_one_result(steps: Any) -> None:
    context = play(steps).transcript.context("a")

    while context:
        message = context.pop(0)
        results = [context.pop(0) for _ in message.tool_calls]
        assert not message.tool_results
        assert [call["tool_call_id"] for call in message.tool_calls] == [
            block["tool_call_id"] for result in results for block in result.blocks
        ]


@settings(max_examples=100)
@given(st.lists(st.one_of(STEPS), max_size=30))
def test_a_checksum_stays_what_it_was_when_the_log_goes_on(steps: Any) -> None:
    events = play(steps).events
    transcript = Transcript()
    taken: list[str] = []

    for event in events:
        transcript.apply(event)
        taken.append(transcript.checksum(event.seq))

    assert taken == [transcript.checksum(event.seq) for event in events]


def test_the_size_of_a_transcript_is_what_it_keeps_and_not_what_streamed_by() -> None:
    talk = Talk().turn("r", "q", "a")
    before = talk.transcript.size
    talk.start("s", "q").sent("s", "q").streamed("s", "h", "e", "l", "lo").received("s", "hello")

    talk.completed("s")

    assert (before, talk.transcript.size) == (4, 8)
