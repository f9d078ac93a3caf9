from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.agents.process_lines import (
    NO_RESULT,
    LineSplitter,
    TextLines,
    function_lines,
    json_lines,
)


def text(*chunks: bytes, line_bytes_max: int = 100, content_bytes_max: int = 1000):
    lines = TextLines(line_bytes_max=line_bytes_max, content_bytes_max=content_bytes_max)
    events = [event for chunk in chunks for event in lines.feed(chunk)] + lines.finish()
    return lines, [data for _, data, _ in events]


def parsed(*chunks: bytes, lines=None, **types: str):
    lines = lines or json_lines(types, line_bytes_max=60)
    events = [event for chunk in chunks for event in lines.feed(chunk)] + lines.finish()
    return lines, [(type, data) for type, data, _ in events]


def test_a_line_is_one_delta_with_its_newline():
    _, data = text(b"one\ntwo\n")

    assert data == [{"delta": "one\n"}, {"delta": "two\n"}]


def test_a_line_is_told_as_soon_as_it_ends_and_not_before():
    lines = TextLines(line_bytes_max=100, content_bytes_max=100)

    assert lines.feed(b"on") == []
    assert lines.feed(b"e\ntw") == [("message_streamed", {"delta": "one\n"}, None)]


def test_a_last_line_needs_no_newline():
    assert text(b"one\ntwo")[1] == [{"delta": "one\n"}, {"delta": "two"}]


def test_no_output_is_no_event():
    lines, data = text()

    assert (data, lines.content, lines.content_truncated) == ([], "", False)


def test_empty_lines_nul_and_carriage_returns_are_text():
    assert text(b"\na\0b\r\n1%\r2%")[1] == [
        {"delta": "\n"},
        {"delta": "a\0b\r\n"},
        {"delta": "1%\r2%"},
    ]


def test_a_line_over_the_limit_is_split_and_its_parts_are_marked():
    _, data = text(b"abcdefgh\nxy\n", line_bytes_max=3)

    assert data == [
        {"delta": "abc", "partial": True},
        {"delta": "def", "partial": True},
        {"delta": "gh\n"},
        {"delta": "xy\n"},
    ]


def test_a_line_of_exactly_the_limit_is_whole():
    assert text(b"abc\n", line_bytes_max=3)[1] == [{"delta": "abc\n"}]
    assert text(b"ab", b"c", b"\n", line_bytes_max=3)[1] == [{"delta": "abc\n"}]


def test_splitting_does_not_tear_a_character():
    _, data = text("äöü\n".encode(), line_bytes_max=3)

    assert "".join(part["delta"] for part in data) == "äöü\n"


def test_invalid_utf_8_is_replaced():
    lines, data = text(b"a\xff\xfeb\n\xe2\x82")

    assert data == [{"delta": "a\ufffd\ufffdb\n"}, {"delta": "\ufffd"}]
    assert lines.content == "a\ufffd\ufffdb\n\ufffd"


def test_content_ends_at_its_limit_between_characters():
    lines, data = text(b"12\n\xc3\xa4\xc3\xb6\n", b"more\n", content_bytes_max=4)

    assert (lines.content, lines.content_truncated) == ("12\n", True)
    assert data == [{"delta": "12\n"}, {"delta": "äö\n"}, {"delta": "more\n"}]


def test_content_of_exactly_the_limit_is_not_truncated():
    lines, _ = text(b"1234", content_bytes_max=4)

    assert (lines.content, lines.content_truncated) == ("1234", False)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)), st.integers(1, 20))
def test_however_it_arrives_the_deltas_are_the_output(data, cuts, line_bytes_max):
    places = [0, *sorted(cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(places)]

    lines, events = text(*chunks, line_bytes_max=line_bytes_max)

    whole = data.decode("utf-8", "replace")
    assert whole == "".join(event["delta"] for event in events) == lines.content


@given(st.binary(max_size=200), st.integers(1, 9), st.integers(1, 50))
def test_pieces_are_bounded_and_lose_nothing(data, line_bytes_max, size):
    splitter = LineSplitter(line_bytes_max)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]

    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.finish()

    assert data == b"".join(piece for piece, _ in pieces)
    assert all(len(piece.removesuffix(b"\n")) <= line_bytes_max for piece, _ in pieces)
    assert data.count(b"\n") == sum(piece.endswith(b"\n") and ended for piece, ended in pieces)


def test_json_with_one_of_our_types_becomes_that_event():
    line = b'{"type": "message_streamed", "data": {"delta": "Hel"}}\n'

    assert parsed(line)[1] == [("message_streamed", {"delta": "Hel"})]


@pytest.mark.parametrize(
    ("line", "original"),
    [
        (b'{"type": "item.done", "data": 1}', {"type": "item.done", "data": 1}),
        (b'{"type": "run_completed", "data": 1}', {"type": "run_completed", "data": 1}),
        (b'{"type": "message_sent"}', {"type": "message_sent"}),
        (b'{"type": 5, "data": 1}', {"type": 5, "data": 1}),
        (b'{"data": 1}', {"data": 1}),
        (b"[1, 2]", [1, 2]),
        (b"null", None),
    ],
)
def test_other_json_is_kept_as_provider_event(line, original):
    assert [("provider_event", {"original": original})] == parsed(line + b"\n")[1]


@pytest.mark.parametrize("line", ["plain words", '{"type": ', "[" * 50, "\ufffd"])
def test_what_is_no_json_is_kept_as_its_line(line):
    assert [("provider_event", {"line": line})] == parsed(line.encode() + b"\r\n")[1]


def test_json_nested_too_deep_to_parse_is_kept_as_its_line():
    lines = json_lines({}, line_bytes_max=1_000_000)

    _, events = parsed(b"[" * 200_000 + b"\n", lines=lines)

    assert [type for type, _ in events] == ["provider_event"]
    assert events[0][1]["line"] == "[" * 200_000


def test_every_parsed_json_event_carries_its_line_to_fall_back_to():
    lines = json_lines({"a": "turn_completed"}, line_bytes_max=100)

    rows = ['{"type": "a"}', "[1]", '{"type": "turn_completed", "data": 2}']
    events = lines.feed("\n".join(rows).encode() + b"\n")

    assert rows == [line for _, _, line in events]


def test_blank_lines_between_json_are_nothing():
    assert parsed(b"\n  \n\r\n")[1] == []


def test_types_can_be_mapped_with_or_without_data():
    _, events = parsed(
        b'{"type": "done", "tokens": 5}\n{"type": "say", "data": "x", "id": 1}',
        done="turn_completed",
        say="message_sent",
    )

    assert events == [("turn_completed", {"tokens": 5}), ("message_sent", "x")]


def test_the_last_result_is_the_output_and_no_event():
    lines, events = parsed(b'{"type": "result", "data": 1}\n{"type": "result", "data": null}')

    assert (events, lines.result) == ([], None)


def test_without_a_result_line_there_is_none():
    assert NO_RESULT is parsed(b'{"type": "result"}')[0].result


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("size", [61, 119, 120, 121, 500])
def test_a_json_line_over_the_limit_is_cut_and_says_so(end, size):
    line = b'{"type": "message_sent", "data": "' + b"x" * size
    line = line[:size] + end

    _, events = parsed(line[:50], line[50:] + b'{"type":1}\n' * bool(end))

    cut = {"line": line[:60].decode(), "truncated": True, "line_bytes": len(line)}
    assert ("provider_event", cut) == events[0]
    assert [("provider_event", {"original": {"type": 1}})] * bool(end) == events[1:]


def test_every_long_json_line_tells_its_own_size():
    _, events = parsed(b"x" * 70 + b"\n" + b"y" * 80 + b"\n")

    assert [data["line_bytes"] for _, data in events] == [71, 81]


def test_a_function_decides_what_a_line_is():
    def number(line: str):
        return ("turn_completed", int(line)) if line.isdigit() else None

    _, events = parsed(b"12\nnoise\n7", lines=function_lines(number, line_bytes_max=10))

    assert events == [("turn_completed", 12), ("turn_completed", 7)]


def test_a_function_may_give_the_result():
    lines = function_lines(lambda line: ("result", line), line_bytes_max=10)

    parsed(b"yes\n", lines=lines)

    assert lines.result == "yes"


def test_what_a_function_made_has_no_fallback():
    lines = function_lines(lambda line: ("message_sent", {1}), line_bytes_max=10)

    assert [("message_sent", {1}, None)] == lines.feed(b"x\n")
