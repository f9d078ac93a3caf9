from __future__ import annotations

from moorage.adapters.agents.claude_code.emitting import Emitter
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.recording import RecordingContext

METADATA = {"provider": "claude"}


async def test_deltas_are_joined_and_come_before_what_follows(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 1.0) as stream:
        await Emitter(context, stream).emit(
            [
                ("message_streamed", {"delta": "", "thinking": "hm"}, METADATA),
                ("message_streamed", {"delta": "", "thinking": "m"}, METADATA),
                ("message_streamed", {"delta": "Hel"}, METADATA),
                ("message_streamed", {"delta": "lo"}, METADATA),
                ("message_received", {"content": "Hello"}, METADATA),
            ]
        )

    assert [(event.type, event.data) for event in context.events] == [
        ("message_streamed", {"delta": "", "thinking": "hmm"}),
        ("message_streamed", {"delta": "Hello"}),
        ("message_received", {"content": "Hello"}),
    ]
    assert all(event.metadata == METADATA for event in context.events)


async def test_deltas_of_another_session_are_told_apart(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 1.0) as stream:
        await Emitter(context, stream).emit(
            [
                ("message_streamed", {"delta": "a"}, {**METADATA, "provider_session": "1"}),
                ("message_streamed", {"delta": "b"}, {**METADATA, "provider_session": "2"}),
            ]
        )

    assert [event.metadata["provider_session"] for event in context.events] == ["1", "2"]


async def test_what_json_can_say_and_the_log_cannot_is_kept_as_text(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 1.0) as stream:
        await Emitter(context, stream).emit([("provider_event", {"big": 2**70}, METADATA)])

    assert [event.data for event in context.events] == [{"big": str(2**70)}]


async def test_a_cancelled_run_emits_without_waiting():
    context = RecordingContext(emit_ahead_bytes_max=1)
    async with DeltaStream(context, 1.0) as stream:
        emitter = Emitter(context, stream)

        emitter.emit_nowait([("tool_call_failed", {"tool_call_id": "t1"}, METADATA)])

    assert [event.type for event in context.events] == ["tool_call_failed"]
