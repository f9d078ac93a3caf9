from __future__ import annotations

import json
from datetime import UTC

import pytest
from moorage.adapters.sinks import renderer
from moorage.adapters.sinks.compact_lines import CompactLinesReader
from moorage.adapters.sinks.rendering import FORMATS, describe_output
from moorage.runtime import Event, InvalidArgument
from moorage.runtime.events import AGENT_TYPES, STATE_TYPES
from moorage.runtime.reversible_json import event_from_json, to_json

from tests.adapters.sinks.event_examples import EVENT_EXAMPLES, UNKNOWN

SECOND = 1_000_000_000
RUN = "run_0123456789abcdef"
OTHER = "run_fedcba9876543210"


def event(seq, type, data=None, run_id=RUN):
    return Event("a", seq, 1_700_000_000 * SECOND, type, run_id, data)


def delta(seq, text, run_id=RUN):
    return event(seq, "message_streamed", {"delta": text}, run_id)


def rendered(format, *events):
    made = renderer(format, zone=UTC)
    return made.render(events) + made.finish()


def compact(*events):
    return rendered("compact", *events)


def leaves(value):
    """The names and the single values of data."""
    if isinstance(value, dict):
        return [one for name, item in value.items() for one in (name, *leaves(item))]
    if isinstance(value, list):
        return [one for item in value for one in leaves(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


def test_an_unknown_format_is_refused_with_those_there_are():
    with pytest.raises(InvalidArgument, match="compact, verbose, jsonl"):
        renderer("xml")


@pytest.mark.parametrize(
    ("type", "data", "text"),
    [
        ("run_submitted", {"input": "hello", "key": "k"}, "hello"),
        ("run_started", {"attempt": 2}, "attempt 2"),
        ("run_requeued", {"attempt": 1}, "attempt 1"),
        (
            "run_completed",
            {
                "output": {"content": "all\n", "exit_code": 0},
                "started_at_ns": 1_699_999_998 * SECOND,
            },
            "2.00 s  all",
        ),
        ("run_failed", {"error": {"code": "boom", "message": "it broke"}}, "boom: it broke"),
        ("run_cancel_requested", {"error": {"code": "c", "message": "m"}}, "c: m"),
        ("error_occurred", {"code": "c", "message": "m"}, "c: m"),
        ("message_received", {"content": "hi there"}, "hi there"),
        (
            "tool_call_started",
            {"tool_name": "ls", "tool_input": {"a": 1}},
            'tool_name=ls tool_input={"a": 1}',
        ),
        ("provider_event", ["odd"], '["odd"]'),
        ("run_failed", {"error": None}, ""),
    ],
)
def test_compact_says_what_happened_in_one_line(type, data, text):
    line = compact(event(7, type, data))

    assert f"     7 22:13:20.000 abcdef {type:<20} {text}".rstrip() + "\n" == line


def shows_compactly(example, written, text):
    line = text.removesuffix("\n")
    assert "\n" not in line
    assert line.startswith(f"     7 22:13:20.000 abcdef {example.type}")
    for word in example.about:
        assert word in line.partition(example.type)[2]


def shows_verbosely(example, written, text):
    head, _, rest = text.partition("\n")
    assert head == f"#7 {example.type}  2023-11-14 22:13:20.000000+00:00  {RUN}"
    for one in leaves(to_json(example.data)):
        assert one in rest


def shows_as_json(example, written, text):
    assert event_from_json(json.loads(text)) == written


def shows_as_rows(example, written, text):
    header, row = text.splitlines()
    assert CompactLinesReader(json.loads(header)).event(json.loads(row)) == written


def shows_what_is_said(example, written, text):
    assert text == example.said


SHOWS = {
    "compact": shows_compactly,
    "verbose": shows_verbosely,
    "jsonl": shows_as_json,
    "jsonl-compact": shows_as_rows,
    "text": shows_what_is_said,
}


def test_there_is_an_example_for_every_type_and_a_check_for_every_format():
    types = {example.type for example in EVENT_EXAMPLES}

    assert types == STATE_TYPES | AGENT_TYPES | {UNKNOWN.type}
    assert SHOWS.keys() == set(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("example", EVENT_EXAMPLES, ids=lambda example: example.type)
def test_every_event_says_what_it_is_about(format, example):
    written = event(7, example.type, example.data)

    SHOWS[format](example, written, rendered(format, written))


def test_compact_lets_a_thought_flow_on_apart_from_what_is_said():
    def thought(seq, text):
        return event(seq, "message_streamed", {"delta": "", "thinking": text})

    text = compact(
        thought(1, "hm"), thought(2, "m\nno"), delta(3, "Yes"), delta(4, ""), delta(5, "!")
    )

    assert [line.partition("message_streamed")[2].strip() for line in text.splitlines()] == [
        "thinking: hmm",
        "thinking: no",
        "Yes!",
    ]


def test_compact_lets_the_deltas_of_a_run_flow_on_in_one_line():
    text = compact(delta(1, "Hel"), delta(2, "lo "), delta(3, "you"), event(4, "run_started", {}))

    first, second = text.splitlines()
    assert first.endswith("message_streamed     Hello you")
    assert second.startswith("     4 ")


def test_compact_begins_a_line_for_another_run_and_behind_a_line_break():
    text = compact(delta(1, "one\ntwo"), delta(2, "three", OTHER), delta(3, "\n"), delta(4, "\n\n"))

    assert [(line.split()[0], line.split()[-1]) for line in text.splitlines()] == [
        ("1", "one"),
        ("1", "two"),
        ("2", "three"),
    ]


def test_compact_shows_a_delta_at_once_and_leaves_its_line_open():
    made = renderer("compact", zone=UTC)

    assert made.render([delta(1, "Hel")]).endswith(" Hel")
    assert made.render([delta(2, "lo")]) == "lo"
    assert made.finish() == "\n"
    assert made.finish() == ""


@pytest.mark.parametrize("format", ["compact", "verbose"])
def test_control_characters_of_programs_reach_no_terminal(format):
    hostile = "\x1b]0;title\x07\x1b[2J"
    events = [
        delta(1, hostile),
        event(2, "run_submitted", {"input": hostile}),
        event(3, f"x{hostile}", {hostile: hostile}, f"run{hostile}"),
    ]

    text = renderer(format).render(events)

    assert "\x1b" not in text
    assert "\x07" not in text


def test_color_is_only_there_when_asked_for():
    events = [event(1, "run_failed", {"error": {"code": "c", "message": "m"}})]

    assert "\x1b[31m" in renderer("compact", color=True).render(events)
    assert "\x1b" not in renderer("compact").render(events)


def test_verbose_shows_everything_of_an_event():
    full = Event("a", 9, 1_700_000_000 * SECOND, "x", RUN, {"b": b"hi"}, {"id": "m"}, 3)

    text = renderer("verbose", zone=UTC).render([full, event(10, "y", {}, None)])

    for part in ("#9 x", "2023-11-14 22:13:20.000000+00:00", RUN, "version 3", "aGk=", '"id": "m"'):
        assert part in text
    assert text.splitlines()[-1].startswith("#10 y")


def test_jsonl_is_one_object_per_line():
    text = renderer("jsonl").render([delta(1, "a\nb\u2028"), event(2, "x", {"n": 2**60})])

    assert [json.loads(line)["seq"] for line in text.split("\n")[:-1]] == [1, 2]
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("output", "text"),
    [({"content": " hi \n"}, "hi"), ({"content": ""}, 'content=""'), ("done", "done"), (None, "")],
)
def test_an_output_is_described_by_its_text(output, text):
    assert text == describe_output(output)
