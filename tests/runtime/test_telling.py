"""People are told what was said; a model also that a call has no result."""

from __future__ import annotations

import attrs
from moorage.runtime.dialogue import INTERRUPTED_OUTPUT, PAUSED_OUTPUT
from moorage.runtime.telling import PendingCall

from tests.runtime.talks import Talk


def cut_short() -> Talk:
    """A run with three calls: one has a result, one was started, one waits for an approval."""
    talk = Talk().start("r").sent("r", "look").received("r", "I look", "c1", "c2", "c3")
    return talk.called("r", "c1").called("r", "c2").returned("r", "c1").asked("r", "c3")


def test_people_are_shown_the_results_that_there_are() -> None:
    assert cut_short().lines() == ["u:look", "a:I look c1? c2? c3?", "t:c1=seen"]


def test_a_model_is_told_of_every_call_how_it_ended() -> None:
    talk = cut_short().add("run_interrupted", "r")

    messages = talk.transcript.context()

    assert talk.context()[2:] == ["t:c1=seen", "t:c2=interrupted!", "t:c3=paused!"]
    assert [m.blocks[0]["tool_output"] for m in messages[3:]] == [INTERRUPTED_OUTPUT, PAUSED_OUTPUT]
    assert {m.blocks[0]["tool_name"] for m in messages[2:]} == {"look"}


def test_messages_that_say_nothing_are_left_out() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "").completed("r")

    assert talk.lines() == ["u:q"]
    assert talk.context() == ["u:q"]


def test_an_agent_is_not_told_its_own_input_and_unfinished_stream() -> None:
    talk = Talk().start("r", "q").streamed("r", "a")

    assert talk.lines() == ["u:q", "a:a..."]
    assert talk.context("r") == []


def test_pending_calls_are_those_of_the_last_message_without_result() -> None:
    talk = cut_short().sent("r", "faster", steer_id="s").streamed("r", "we")

    pending = talk.transcript.pending_calls("r")

    assert pending == [
        PendingCall("c2", "look", {"at": "c2"}, started=True, request_id=None),
        PendingCall("c3", "look", {"at": "c3"}, started=False, request_id="r:c3"),
    ]
    assert attrs.asdict(pending[0])["tool_input"] == {"at": "c2"}


def test_a_run_that_called_nothing_has_nothing_pending() -> None:
    talk = Talk().start("r").sent("r", "q")

    assert talk.transcript.pending_calls("r") == []
    assert talk.transcript.pending_calls("unknown") == []
    assert talk.received("r", "a").transcript.pending_calls("r") == []


def test_a_summary_stands_for_what_it_has_and_keeps_the_rest() -> None:
    talk = Talk().turn("a", "q1", "a1").turn("b", "q2", "a2")
    kept = talk.transcript.messages()[2].seq

    talk.add("context_compacted", summary="q1 was answered", first_kept_seq=kept)

    assert talk.context()[0].endswith("q1 was answered")
    assert talk.context()[1:] == ["u:q2", "a:a2"]
    assert talk.lines() == ["u:q1", "a:a1", "u:q2", "a:a2"]


def test_a_call_that_is_summed_up_takes_its_result_along() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1")
    first_kept_seq = talk.seq + 1

    talk.returned("r", "c1").received("r", "done")
    talk.add("context_compacted", "r", summary="s", first_kept_seq=first_kept_seq)

    assert talk.context("r")[1:] == ["a:done"]


def test_a_run_that_went_on_during_a_compaction_is_kept_whole() -> None:
    talk = Talk().start("a").start("b").sent("a", "qa").sent("b", "qb").received("b", "mb")

    talk.add("context_compacted", "b", summary="s", first_kept_seq=talk.seq + 1)
    open_run = talk.context("a")
    talk.received("b", "ab").completed("b").received("a", "aa").completed("a")

    assert open_run[1:] == ["u:qa"]
    assert talk.context()[1:] == ["u:qa", "a:aa", "a:ab"]


def test_what_may_still_be_replaced_does_not_count_for_good() -> None:
    talk = Talk().start("r", "q").received("r", "one").streamed("r", "tw")
    seq = talk.seq
    streaming = talk.transcript.checksum(seq)

    talk.received("r", "two").completed("r")

    assert talk.transcript.checksum(seq) == streaming
    assert talk.transcript.checksum(talk.seq) != streaming
