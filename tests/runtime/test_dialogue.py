"""Entries become messages: calls find their results, and runs are told one after the other."""

from __future__ import annotations

from typing import Any

from moorage.runtime.dialogue import Dialogue
from moorage.runtime.entries import Entry, kept
from moorage.runtime.messages import Message, text_block, tool_call_block, tool_result_block
from moorage.runtime.telling import told

from tests.runtime.talks import Talk, lines


def test_calls_are_followed_by_their_results_in_the_order_of_the_calls() -> None:
    talk = Talk().start("r").sent("r", "look").received("r", "I look", "c1", "c2")

    talk.called("r", "c1").called("r", "c2").returned("r", "c2", "two").returned("r", "c1", "one")

    assert talk.lines() == ["u:look", "a:I look c1? c2?", "t:c1=one", "t:c2=two"]


def test_a_steer_between_call_and_result_is_told_after_the_result() -> None:
    talk = Talk().start("r").sent("r", "look").received("r", "", "c1")

    talk.sent("r", "faster", steer_id="s1").returned("r", "c1")

    assert talk.lines() == ["u:look", "a:c1?", "t:c1=seen", "u:faster"]


def test_a_steer_stays_when_its_agent_begins_anew() -> None:
    talk = Talk().start("r", "look").sent("r", "one").sent("r", "two").received("r", "half")
    talk.sent("r", "faster", steer_id="s1").received("r", "less").sent("r", "left", steer_id="s2")

    talk.again("r").sent("r", "one").sent("r", "two")
    begun = talk.context("r")
    talk.received("r", "done").sent("r", "again", steer_id="s3")

    assert begun == ["u:one", "u:two", "u:faster", "u:left"]
    assert talk.lines() == [*begun, "a:done", "u:again"]


def test_a_steer_stays_when_an_agent_that_does_not_tell_its_input_begins_anew() -> None:
    talk = Talk().start("r", "look").received("r", "half").sent("r", "faster", steer_id="s1")

    talk.again("r").received("r", "done")

    assert talk.lines() == ["u:look", "u:faster", "a:done"]


def test_runs_that_interleave_are_told_one_after_the_other() -> None:
    talk = Talk().start("a", "qa").start("b", "qb").sent("a", "qa").sent("b", "qb")

    talk.received("a", "", "c1").received("b", "", "c1").returned("a", "c1", "for a")
    talk.returned("b", "c1", "for b").received("b", "done b").received("a", "done a")

    assert talk.lines() == [
        *["u:qa", "a:c1?", "t:c1=for a", "a:done a"],
        *["u:qb", "a:c1?", "t:c1=for b", "a:done b"],
    ]


def test_what_a_host_says_during_a_run_is_told_after_it() -> None:
    talk = Talk().sent(None, "before").start("r").sent("r", "q")

    talk.sent(None, "meanwhile").received("r", "a").sent(None, "later")

    assert talk.lines() == ["u:before", "u:q", "a:a", "u:meanwhile", "u:later"]


def test_a_host_s_result_finds_its_call_in_front_of_a_run() -> None:
    talk = Talk().received(None, "", "c1").start("r").sent("r", "q")

    talk.returned(None, "c1")

    assert talk.lines() == ["a:c1?", "t:c1=seen", "u:q"]


def test_a_second_result_of_a_call_changes_nothing() -> None:
    talk = Talk().received(None, "", "c1").returned(None, "c1", "first")

    talk.returned(None, "c1", "second")

    assert talk.lines() == ["a:c1?", "t:c1=first"]


def test_an_id_that_is_used_again_is_another_call() -> None:
    talk = Talk().received(None, "", "c1").returned(None, "c1", "one")

    talk.received(None, "", "c1").returned(None, "c1", "two")
    talk.called(None, "c1").returned(None, "c1", "three")

    assert talk.lines() == [*["a:c1?", "t:c1=one"], *["a:c1?", "t:c1=two"], "a:c1?", "t:c1=three"]


def test_calls_that_no_message_had_are_gathered_into_one() -> None:
    talk = Talk().start("r").sent("r", "look").called("r", "c1").called("r", "c2")

    talk.returned("r", "c1", "one").returned("r", "c2", "two").returned("r", "c3", "three")

    assert talk.lines() == [
        *["u:look", "a:c1? c2?", "t:c1=one", "t:c2=two"],
        *["a:c3?", "t:c3=three"],
    ]


def test_a_message_takes_over_the_calls_that_were_told_before_it() -> None:
    talk = Talk().start("r").sent("r", "look").asked("r", "c1").called("r", "c1")

    talk.returned("r", "c1").received("r", "I look", "c1")

    assert talk.lines() == ["u:look", "a:I look c1?", "t:c1=seen"]


def test_the_first_event_of_all_may_be_a_result() -> None:
    assert Talk().returned(None, "c1").lines() == ["a:c1?", "t:c1=seen"]


def test_a_result_without_the_tool_s_name_gets_it_from_its_call() -> None:
    talk = Talk().received(None, "", "c1").add("tool_call_completed", tool_call_id="c1")

    assert talk.transcript.messages()[1].blocks == [tool_result_block("c1", "look", None)]


def test_calls_and_results_may_be_inside_of_messages_that_were_sent() -> None:
    talk = Talk().add("message_sent", role="assistant", content=[tool_call_block("c1", "t", {})])

    talk.add("message_sent", role="tool", content=[tool_result_block("c1", "t", 1)])
    talk.add("message_sent", role="user", content=[tool_result_block("c1", "t", 2), "thanks"])

    assert talk.lines() == ["a:c1?", "t:c1=1", "u:thanks"]


def test_a_run_that_says_nothing_is_told_by_its_input_and_output() -> None:
    talk = Talk().start("r", "hello").completed("r", {"content": "hi"})

    messages = talk.transcript.messages()

    assert lines(messages) == ["u:hello", "a:hi"]
    assert [(m.seq, m.run_id, m.time_ns) for m in messages] == [(2, "r", 102), (3, "r", 103)]


def test_the_output_stands_for_what_was_only_streamed() -> None:
    talk = Talk().start("r", "hello").streamed("r", "h", "i").completed("r", "hi!")

    assert talk.lines() == ["u:hello", "a:hi!"]


def test_a_stream_that_never_ended_is_a_partial_message() -> None:
    talk = Talk().start("r", "hello").streamed("r", "h", "i")
    talk.add("message_streamed", "r", delta="", thinking="why").add("run_interrupted", "r")

    assert talk.lines() == ["u:hello", "a:hi [why]..."]


def test_the_messages_of_an_agent_stand_for_input_and_output() -> None:
    talk = Talk().start("r", "hello").sent("r", "hello").received("r", "hi")

    talk.completed("r", {"content": "hi"})

    assert talk.lines() == ["u:hello", "a:hi"]


def test_an_agent_that_sends_its_input_late_does_not_say_it_twice() -> None:
    talk = Talk().start("r", "hello").called("r", "c1").sent("r", "hello")

    assert talk.lines() == ["a:c1?", "u:hello"]


def test_an_agent_that_sends_its_input_again_begins_anew() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1").streamed("r", "a")

    talk.again("r").sent("r", "q").received("r", "", "c1").returned("r", "c1")

    assert talk.lines() == ["u:q", "a:c1?", "t:c1=seen"]


def test_an_agent_that_goes_on_where_it_was_keeps_what_it_said() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1").streamed("r", "a")

    talk.again("r").sent("r", "faster", steer_id="s").returned("r", "c1").received("r", "done")

    assert talk.lines() == ["u:q", "a:c1?", "t:c1=seen", "u:faster", "a:done"]


def test_an_agent_that_records_no_input_begins_anew_whenever_it_is_called() -> None:
    talk = Talk().start("r", "q").streamed("r", "a").received("r", "ab").streamed("r", "x")

    talk.again("r").streamed("r", "a", "b")
    during = talk.lines()
    talk.completed("r", "abc")

    assert during == ["u:q", "a:ab..."]
    assert talk.lines() == ["u:q", "a:abc"]


def test_the_output_is_the_answer_of_an_agent_that_went_on_without_saying_more() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "I look", "c1").asked("r", "c1")
    talk.again("r").returned("r", "c1")

    assert talk.completed("r", "a cat").lines()[-1] == "a:a cat"


def test_an_answer_that_was_given_before_a_crash_is_not_given_twice() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "a").again("r")

    assert talk.completed("r", "a").lines() == ["u:q", "a:a"]


def test_a_failed_run_keeps_what_was_said_before_it_was_called_again() -> None:
    talk = Talk().start("r", "q").received("r", "ab").again("r").add("run_failed", "r")

    assert talk.lines() == ["u:q", "a:ab"]


def test_a_decision_about_an_approval_closes_it() -> None:
    talk = Talk().start("r").sent("r", "q").received("r", "", "c1", "c2")
    talk.asked("r", "c1").asked("r", "c2")

    talk.add("tool_approval_granted", "r", tool_call_id="c1")
    talk.add("tool_approval_denied", "r", tool_call_id="unknown")

    asked = {call.tool_call_id: call.request_id for call in talk.transcript.pending_calls("r")}
    assert asked == {"c1": None, "c2": "r:c2"}


def test_a_summary_of_the_branch_that_was_left_is_a_message() -> None:
    talk = Talk().sent(None, "one").sent(None, "two")

    talk.add("session_restored", to_seq=1, summary="they said two")

    last = talk.transcript.messages()[-1]
    assert talk.lines()[0] == "u:one"
    assert (last.role, last.is_summary) == ("user", True)
    assert "they said two" in last.text


def test_a_dialogue_keeps_the_latest_compaction() -> None:
    entries = [
        entry(1, "message_sent", role="user", content="a"),
        entry(2, "context_compacted", summary="one", first_kept_seq=1),
        entry(3, "conversation_configured", model="m"),
        entry(4, "context_compacted", summary="two", first_kept_seq=2),
    ]

    dialogue = Dialogue(entries)

    assert dialogue.compaction is not None
    assert (dialogue.compaction.summary, dialogue.compaction.seq) == ("two", 4)
    assert told(dialogue.groups[0]) == [Message("user", [text_block("a")], seq=1, time_ns=101)]
    assert dialogue.group("unknown") is None


def entry(seq: int, type: str, **data: Any) -> Entry:
    return Entry(seq, seq, 100 + seq, type, None, kept(type, data) or {})


def test_a_call_without_a_result_is_given_one_for_a_model() -> None:
    talk = Talk().received(None, "I look", "c1")

    (spoken,) = Dialogue(talk.transcript._entries).groups[0].spoken
    result = spoken.calls[0].synthetic_result(spoken.message)

    assert lines([result]) == ["t:c1=interrupted!"]
    assert (result.seq, result.run_id, result.original) == (1, None, None)
