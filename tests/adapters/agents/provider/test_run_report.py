from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.run_report import RunReport, plain
from moorage.adapters.agents.recording import RecordingContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALL = {"tool_call_id": "c1", "tool_name": "ls"}


@asynccontextmanager
async def reporting(context: RecordingContext) -> AsyncIterator[RunReport]:
    async with DeltaStream(context, 60) as deltas:
        yield RunReport(context, deltas, "twin")


def told(context: RecordingContext) -> list[tuple[str, object]]:
    return [(event.type, event.data) for event in context.events]


async def test_pending_deltas_go_out_before_the_next_event(autojump_clock: object) -> None:
    context = RecordingContext()

    async with reporting(context) as report:
        await report.delta("text", "Hel")
        await report.delta("text", "lo")
        await report.emit("message_received", {"content": "Hello"})

    assert told(context) == [
        ("message_streamed", {"delta": "Hello"}),
        ("message_received", {"content": "Hello"}),
    ]


async def test_provider_and_session_are_in_the_metadata_of_every_event(
    autojump_clock: object,
) -> None:
    context = RecordingContext()

    async with reporting(context) as report:
        report.provider_session = "s1"
        await report.delta("thinking", "hm")
        await report.emit("provider_event", {}, {"provider_time_ns": 5})

    first, second = (event.metadata for event in context.events)
    assert first == {"provider": "twin", "provider_session": "s1"}
    assert second == {"provider": "twin", "provider_session": "s1", "provider_time_ns": 5}


async def test_a_call_starts_once_and_ends_once(autojump_clock: object) -> None:
    context = RecordingContext()

    async with reporting(context) as report:
        for _ in range(2):
            await report.emit("tool_call_started", {**CALL, "tool_input": {}})
        for _ in range(2):
            await report.emit("tool_call_completed", {**CALL, "tool_output": "x"})
        await report.emit("tool_call_failed", {**CALL, "error": {"code": "c", "message": "m"}})
        report.close_calls("interrupted", "cancelled")

    assert told(context) == [
        ("tool_call_started", {**CALL, "tool_input": {}}),
        ("tool_call_completed", {**CALL, "tool_output": "x", "duration_seconds": 0.0}),
    ]


async def test_calls_that_never_ended_are_told_as_failed(autojump_clock: object) -> None:
    context = RecordingContext()

    async with reporting(context) as report:
        calls = [{**CALL, "tool_input": {}}]
        await report.emit("message_received", {"content": "", "tool_calls": calls})
        report.close_calls("interrupted", "the run was cancelled")

    error = {"code": "interrupted", "message": "the run was cancelled"}
    assert told(context)[-1] == ("tool_call_failed", {**CALL, "error": error})
    assert report.open_calls == ()


async def test_the_output_has_the_last_message_and_counts_them(autojump_clock: object) -> None:
    context = RecordingContext()

    async with reporting(context) as report:
        report.provider_session = "s1"
        await report.emit("message_received", {"content": "one", "model": "m"})
        await report.emit("message_received", {"content": "two", "stop_reason": "stop"})

    assert report.output() == {
        "content": "two",
        "stop_reason": "stop",
        "provider": "twin",
        "model": "m",
        "turns": 2,
        "provider_session": "s1",
    }


def test_what_json_can_say_and_the_log_cannot_is_replaced() -> None:
    value = {"half": "a\ud800b", "huge": 2**70, "list": (1, True, None, 1.5)}

    assert plain(value) == {"half": "a?b", "huge": str(2**70), "list": [1, True, None, 1.5]}
    assert plain({"a": [1]}) == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("Straße", "Straße"),
        ("half \ud800", "half ?"),
        ({"\ud800": [1, {"a": 2**64}]}, {"?": [1, {"a": "18446744073709551616"}]}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (True, True),
        (1.5, 1.5),
        (None, None),
    ],
)
def test_each_kind_of_value_is_kept_or_written_out(value: Any, kept: Any) -> None:
    assert plain(value) == kept
