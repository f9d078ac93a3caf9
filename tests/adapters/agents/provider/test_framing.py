from __future__ import annotations

import json
from typing import Any

import pytest
from moorage.adapters.agents.provider.framing import (
    HEADER_BYTES_MAX,
    Framing,
    JsonLines,
    LengthHeaders,
)

MESSAGES = [{"a": 1}, {"b": "ü\n"}, {"c": "x" * 300}]


def messages(framing: Framing, data: bytes, size: int) -> list[Any]:
    """(kind, data) of what is found when the bytes come in chunks of this size."""
    events = [
        event
        for start in range(0, len(data), size)
        for event in framing.feed(data[start : start + size])
    ]
    return [(kind, found) for kind, found, _ in [*events, *framing.finish()]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("make", [JsonLines, LengthHeaders])
def test_what_is_framed_is_found_again_in_any_chunks(make: Any, size: int) -> None:
    data = b"".join(make(1_000).frame(json.dumps(m, ensure_ascii=False)) for m in MESSAGES)

    assert messages(make(1_000), data, size) == [("message", message) for message in MESSAGES]


@pytest.mark.parametrize("size", [1, 5, 1_000])
def test_other_headers_and_letter_cases_are_fine(size: int) -> None:
    data = b'Content-Type: x; charset=utf-8\r\ncontent-length:  8 \r\n\r\n{"a": 1}'

    found = messages(LengthHeaders(100), b"Content-Length: 2\nX: y\n\n{}" + data, size)

    assert ("message", {}) in found
    assert found[-1] == ("message", {"a": 1})


@pytest.mark.parametrize("size", [1, 5, 1_000])
def test_a_message_that_is_too_long_is_passed_over(size: int) -> None:
    framing = LengthHeaders(10)
    data = framing.frame("x" * 50) + framing.frame('{"a": 1}')

    assert messages(LengthHeaders(10), data, size) == [
        ("garbage", {"line": "", "truncated": True, "line_bytes": 50}),
        ("message", {"a": 1}),
    ]


@pytest.mark.parametrize("body", ["[1]", "nonsense", "[" * 100_000])
def test_a_body_that_is_no_object_is_garbage(body: str) -> None:
    framing = LengthHeaders(200_000)

    assert messages(framing, framing.frame(body), 4_096) == [("garbage", {"line": body})]


def test_lines_that_are_no_header_are_garbage_and_bounded() -> None:
    long = b"y" * (HEADER_BYTES_MAX + 10)
    data = b"warning!\n\n" + long + b"\n" + LengthHeaders(100).frame("{}")

    found = messages(LengthHeaders(100), data, 1_000)

    assert found[0] == ("garbage", {"line": "warning!"})
    assert found[-1] == ("message", {})
    assert sum(len(data["line"]) for kind, data in found if kind == "garbage") == 8 + len(long)


def test_what_is_cut_off_is_told_at_the_end() -> None:
    framing = LengthHeaders(100)

    assert messages(framing, b"Content-Length: 10\r\n\r\n{", 100) == [("garbage", {"line": "{"})]
    assert framing.finish() == []
