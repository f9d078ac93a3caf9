"""What a conversation does in the middle of a run is shown in test_agent; here are its edges."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.codex.conversation import Conversation
from moorage.adapters.agents.codex.mapping import TurnReader
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.failures import ProtocolViolated
from moorage.adapters.agents.provider.json_rpc import RpcRefused
from moorage.adapters.agents.provider.run_report import RunReport
from moorage.adapters.agents.recording import RecordingContext


def conversation(context: RecordingContext, **fields: Any) -> Conversation:
    report = RunReport(context, DeltaStream(context), "codex")
    process: Any = None
    return Conversation(context=context, process=process, report=report, turns_max=None, **fields)


async def test_what_is_told_before_there_is_a_thread_is_about_the_program() -> None:
    context = RecordingContext()

    await conversation(context).told("configWarning", {"summary": "no bubblewrap"})

    assert context.events == []


async def test_what_is_asked_before_there_is_a_thread_is_refused() -> None:
    with pytest.raises(RpcRefused):
        await conversation(RecordingContext()).asked("item/fileChange/requestApproval", {})


async def test_parameters_that_are_no_map_are_none() -> None:
    context = RecordingContext()

    await conversation(context, reader=TurnReader("thread")).told("warning", ["strange"])

    (event,) = context.events
    assert event.data["original"] == {"method": "warning", "params": {}}


def test_without_a_thread_there_is_nothing_to_conclude() -> None:
    with pytest.raises(ProtocolViolated):
        conversation(RecordingContext()).conclude()
