from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.gateways.chat.screen import Screen
from moorage.adapters.gateways.chat.situation import Question
from moorage.runtime import Event
from moorage.runtime.messages import Message, text_block, tool_call_block, tool_result_block

SECOND_NS = 1_000_000_000


def event(type: str, data: Any = None, run_id: str | None = "r", **metadata: Any) -> Event:
    return Event("s", 1, 3 * SECOND_NS, type, run_id, data or {}, metadata or None)


def delta(text: str = "", **data: Any) -> Event:
    return event("message_streamed", {"delta": text, **data})


COMPLETED = event("run_completed", {"started_at_ns": SECOND_NS, "output": {"content": "all"}})


def test_deltas_flow_and_what_follows_begins_a_line():
    screen = Screen()

    text = screen.show([delta("Hel"), delta("lo\nwor"), delta("ld")])
    text += screen.show([event("message_received", {"content": "Hello\nworld"}), COMPLETED])

    assert text == "Hello\nworld\n(2.0 s)\n"


def test_what_was_not_streamed_is_shown_when_it_is_there():
    text = Screen().show([event("message_received", {"content": "Hello"}), COMPLETED])

    assert text == "Hello\n(2.0 s)\n"


def test_a_second_message_that_was_not_streamed_is_shown_too():
    text = Screen().show(
        [
            delta("one"),
            event("message_received", {"content": "one"}),
            event("message_received", {"content": "two"}),
        ]
    )

    assert text == "one\ntwo\n"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"content": "Hello\n"}, "Hello\n"),
        ({"content": ""}, ""),
        ("Hello", "Hello\n"),
        ({"x": 1}, "x=1\n"),
        (None, ""),
    ],
)
def test_the_output_of_an_agent_that_said_nothing_is_shown(output, shown):
    text = Screen().show([event("run_completed", {"started_at_ns": SECOND_NS, "output": output})])

    assert text == f"{shown}(2.0 s)\n"


def test_thinking_is_dim_and_apart_from_what_is_said():
    text = Screen(color=True).show([delta(thinking="hm"), delta(thinking="m"), delta("Yes")])

    assert text == "\x1b[2mhm\x1b[0m\x1b[2mm\x1b[0m\nYes"


def test_what_a_terminal_would_act_upon_is_spelled_out():
    text = Screen().show([delta("a\x1b[2J"), event("message_sent", {"content": "x"})])

    assert text == "a\\x1b[2J"


def test_a_tool_call_has_lines_of_its_own_with_input_and_result():
    call = {"tool_call_id": "c", "tool_name": "find", "tool_input": {"q": "rust", "n": 3}}

    text = Screen().show(
        [
            delta("Let me see"),
            event("tool_call_started", call),
            event(
                "tool_call_completed", {"tool_output": "one\ntwo\nthree", "duration_seconds": 2.5}
            ),
            event("tool_call_failed", {"error": {"code": "gone", "message": "no such file"}}),
        ]
    )

    assert text.splitlines() == [
        "Let me see",
        "* find q=rust n=3",
        "  = one (+2 lines) (2.5 s)",
        "  ! gone: no such file",
    ]


def test_long_inputs_and_results_are_shortened_to_the_width():
    call = {"tool_name": "write", "tool_input": {"text": "x" * 10_000}}

    text = Screen(width=60).show(
        [
            event("tool_call_started", call),
            event("tool_call_completed", {"tool_output": "y" * 10_000}),
        ]
    )

    assert [len(line) <= 64 for line in text.splitlines()] == [True, True]


def test_of_a_sub_agent_only_the_tools_are_shown_and_indented():
    inside = {"parent_tool_call_id": "c"}

    text = Screen().show(
        [
            event("message_streamed", {"delta": "thoughts"}, **inside),
            event("tool_call_started", {"tool_name": "find", "tool_input": {}}, **inside),
            event("tool_call_completed", {"tool_output": "found"}, **inside),
        ]
    )

    assert text == "  * find\n    = found\n"


def test_decisions_say_who_took_them_and_why():
    text = Screen().show(
        [
            event("tool_approval_granted", {"request_id": "r:c", "by": "ada"}),
            event("tool_approval_denied", {"request_id": "r:d", "reason": "too dear"}),
        ]
    )

    assert text == "  approved by ada\n  denied: too dear\n"


def test_a_question_shows_all_that_has_to_be_judged_up_to_a_limit():
    screen = Screen()
    many = {"lines": list(range(100))}

    short = screen.question(Question("r", "approval:c", {"tool_name": "t", "tool_input": {"a": 1}}))
    long = screen.question(Question("r", "approval:c", {"tool_name": "t", "tool_input": many}))

    assert short.splitlines() == ["? may t be used", "  {", '    "a": 1', "  }"]
    assert long.splitlines()[-1] == "  ... 84 more lines"


@pytest.mark.parametrize(
    ("data", "shown"),
    [(None, ["? color"]), ("which one\nis it", ["? color", "  which one", "  is it"])],
)
def test_a_question_of_another_kind_shows_its_name_and_what_is_with_it(data, shown):
    assert Screen().question(Question("r", "color", data)).splitlines() == shown


@pytest.mark.parametrize(
    ("type", "error", "shown"),
    [
        ("run_failed", {"code": "boom", "message": "no"}, "failed: boom: no"),
        ("run_cancelled", {"code": "run_cancelled", "message": "stop"}, "cancelled: stop"),
        ("run_interrupted", {"code": "interrupted", "message": "gone"}, "interrupted: gone"),
        ("run_timed_out", {"code": "timeout", "message": "5 s"}, "timed out: timeout: 5 s"),
        ("run_cancelled", None, "cancelled"),
    ],
)
def test_an_end_that_is_none_to_be_glad_of_says_why(type, error, shown):
    text = Screen().show([delta("half"), event(type, {"error": error})])

    assert text.splitlines() == ["half", shown, "(never started)"]


def test_usage_is_a_line_of_what_was_counted():
    usage = {
        "input_tokens": 12_345,
        "output_tokens": 67,
        "cache_read_tokens": 0,
        "reasoning_tokens": 8,
        "cost_usd": 0.01234,
    }

    text = Screen().show([event("run_completed", {"started_at_ns": SECOND_NS, "usage": usage})])

    assert text == "(2.0 s, 12,345 in, 67 out, 8 reasoning, $0.0123)\n"


def test_what_was_typed_here_is_not_told_again_but_what_waited_is():
    screen = Screen()

    with screen.typed():
        pass
    text = screen.show([event("run_submitted", {"input": "typed"}), event("run_started")])
    text += screen.show(
        [event("run_submitted", {"input": "queued"}, "q"), event("run_started", {}, "q")]
    )

    assert text == "> queued\n"


def test_a_submission_that_failed_counts_as_nothing_typed():
    screen = Screen()

    with pytest.raises(ValueError, match="full"), screen.typed():
        raise ValueError("full")

    events = [event("run_submitted", {"input": "queued"}), event("run_started")]
    assert screen.show(events) == "> queued\n"


def test_a_message_on_its_way_is_shown_where_the_model_gets_it():
    sent = {"role": "user", "content": "faster", "steer_id": "x"}

    assert Screen().show([delta("so"), event("message_sent", sent)]) == "so\n(told: faster)\n"


def test_problems_that_are_no_end_are_shown_as_they_come():
    text = Screen().show(
        [
            event("error_occurred", {"code": "rate_limited", "message": "wait"}),
            event("error_recovered", {"code": "retried", "message": "again"}),
            event("context_compacted", {"summary": "s"}),
            event("run_requeued", {"attempt": 1}),
        ]
    )

    assert text.splitlines() == [
        "  ! rate_limited: wait",
        "  (retried: again)",
        "(what was said before is summed up for the model from here on)",
        "(interrupted; it starts again)",
    ]


def test_runs_side_by_side_do_not_share_a_line():
    text = Screen().show([delta("one"), event("message_streamed", {"delta": "two"}, "q")])

    assert text == "one\ntwo"


def test_the_terminals_own_writing_opens_or_ends_a_line():
    screen = Screen()
    screen.show([delta("half")])

    screen.moved(open=False)
    assert screen.line("note") == "note\n"

    screen.moved(open=True)
    assert screen.line("note") == "\nnote\n"


def test_a_history_shows_who_said_what_and_the_tools():
    messages = [
        Message("user", [text_block("find it")]),
        Message(
            "assistant",
            [
                {"type": "thinking", "text": "hm"},
                text_block("I look"),
                tool_call_block("c", "find", {"q": 1}),
            ],
        ),
        Message("tool", [tool_result_block("c", "find", "one\ntwo", is_error=False)]),
        Message("tool", [tool_result_block("d", "find", "gone", is_error=True)]),
        Message("user", [{"type": "image", "media_type": "image/png", "data": b""}]),
    ]

    assert Screen().history(messages).splitlines() == [
        "> find it",
        "hm",
        "I look",
        "* find q=1",
        "  = one (+1 lines)",
        "  ! gone",
        "[image]",
    ]


@pytest.mark.parametrize("data", [None, "text", 5, {"delta": 5}, {"delta": None}])
def test_data_of_another_shape_is_passed_over(data):
    assert Screen().show([Event("s", 1, 0, "message_streamed", "r", data)]) == ""
