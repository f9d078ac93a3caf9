"""What an event says is kept in one shape, whatever shape it came in."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.entries import kept, output_blocks
from moorage.runtime.messages import text_block, tool_result_block

CALL = {"tool_call_id": "c1", "tool_name": "look", "tool_input": {"at": 1}}
HI = [text_block("hi")]

KEPT: list[tuple[str, dict[str, Any], Any]] = [
    ("message_sent", {"role": "system", "content": "hi"}, {"role": "system", "blocks": HI}),
    ("message_sent", {"role": 7, "content": "hi"}, {"role": "user", "blocks": HI}),
    ("message_sent", {"text": "hi"}, {"role": "user", "blocks": []}),
    (
        "message_sent",
        {"content": "hi", "steer_id": "s1"},
        {"role": "user", "blocks": HI, "steer_id": "s1"},
    ),
    (
        "message_received",
        {"content": "hi", "original": 7, "partial": 1},
        {"blocks": HI, "original": None, "partial": False},
    ),
    (
        "message_received",
        {"content": "hi", "original": {"provider": "p"}, "partial": True},
        {"blocks": HI, "original": {"provider": "p"}, "partial": True},
    ),
    ("tool_call_started", CALL, CALL),
    ("tool_call_started", {"tool_name": "look"}, None),
    (
        "tool_call_started",
        {"tool_call_id": "c1", "tool_name": 7},
        {"tool_call_id": "c1", "tool_name": "", "tool_input": {}},
    ),
    (
        "tool_call_completed",
        {**CALL, "tool_output": "seen"},
        tool_result_block("c1", "look", "seen"),
    ),
    ("tool_call_completed", {"tool_output": "seen"}, None),
    (
        "tool_call_failed",
        {**CALL, "error": {"code": "dark", "message": "too dark"}},
        tool_result_block("c1", "look", "too dark", is_error=True),
    ),
    (
        "tool_call_failed",
        {**CALL, "error": {"code": "dark"}},
        tool_result_block("c1", "look", "dark", is_error=True),
    ),
    ("tool_call_failed", CALL, tool_result_block("c1", "look", None, is_error=True)),
    (
        "tool_call_failed",
        {**CALL, "error": {"message": "m"}, "tool_output": 7},
        tool_result_block("c1", "look", 7, is_error=True),
    ),
    ("tool_call_failed", {}, None),
    ("tool_approval_requested", {**CALL, "request_id": "r"}, {**CALL, "request_id": "r"}),
    ("tool_approval_requested", CALL, {**CALL, "request_id": "c1"}),
    ("tool_approval_requested", {"request_id": "r"}, None),
    ("tool_approval_granted", {**CALL, "request_id": "r"}, CALL),
    ("tool_approval_denied", {}, None),
    (
        "context_compacted",
        {"summary": "s", "first_kept_seq": 3, "tokens_before": 9},
        {"summary": "s", "first_kept_seq": 3},
    ),
    ("context_compacted", {"summary": "s"}, None),
    ("context_compacted", {"first_kept_seq": 3}, None),
    ("session_restored", {"to_seq": 3, "summary": "s"}, {"summary": "s"}),
    ("session_restored", {"to_seq": 3}, None),
    ("conversation_configured", {"model": "m"}, {"model": "m"}),
]


@pytest.mark.parametrize(("type", "data", "expected"), KEPT)
def test_what_can_be_read_is_kept(type: str, data: dict[str, Any], expected: Any) -> None:
    assert expected == kept(type, data)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("hi", HI),
        ({"content": "hi", "text": "other"}, HI),
        ({"content": HI}, HI),
        ({"text": "hi"}, HI),
        ({"rows": 7}, []),
        (7, []),
        (None, []),
    ],
)
def test_an_output_says_its_content_or_text(output: Any, said: Any) -> None:
    assert output_blocks(output) == said
