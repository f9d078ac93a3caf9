from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.copilot import CopilotAgent
from moorage.adapters.agents.copilot.resuming import knows
from moorage.adapters.agents.provider.provider_sessions import save_handle
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.runtime.messages import Message

from tests.adapters.agents.copilot.fake_copilot import OFFLINE, FakeCopilot, answer

if TYPE_CHECKING:
    from pathlib import Path

CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "bash", "tool_input": {}}
SAID = [
    Message("user", [{"type": "text", "text": "Do it."}]),
    Message("assistant", [{"type": "text", "text": "I will."}, CALL]),
    Message("tool", [{"type": "tool_result", "tool_call_id": "c1", "tool_output": "x"}]),
    Message("assistant", [{"type": "text", "text": "Well, "}], partial=True),
]
USER = {"type": "user.message", "data": {"content": "<told before>\n\nDo it."}}
ASSISTANT = {
    "type": "assistant.message",
    "data": {"content": "I will.", "toolRequests": [{"toolCallId": "c1"}]},
}


def test_a_session_knows_a_run_if_it_has_all_whole_messages_and_calls() -> None:
    without_call = {"type": "assistant.message", "data": {"content": "I will."}}

    assert knows([USER, ASSISTANT, "strange"], SAID)
    assert not knows([ASSISTANT], SAID)
    assert not knows([USER], SAID)
    assert not knows([USER, without_call], SAID)


async def after_a_cut_run() -> RecordingContext:
    """The context of a run behind one that was cut off, whose session was recorded as it began."""
    first = RecordingContext()
    await first.emit("conversation_configured", {"provider": "copilot"})
    await save_handle(first, "copilot", "session-1", goes_on=True)
    await first.emit("message_sent", {"role": "user", "content": "Do it."})
    last = first.events[-1]
    ended = attrs.evolve(last, type="run_interrupted", data={}, seq=last.seq + 1)
    return RecordingContext(
        run_id="second",
        history=[*first.events, ended],
        session_metadata=dict((await first.session.info()).metadata),
    )


@pytest.mark.parametrize("kept", [True, False])
async def test_a_session_that_lacks_what_a_run_said_is_told_it_again(
    tmp_path: Path, kept: bool
) -> None:
    play = [["answer", {"events": [USER] if kept else []}]]
    fake = FakeCopilot(tmp_path, answer("Hi"), session_getMessages=[play])
    context: Any = await after_a_cut_run()

    with trio.fail_after(60):
        agent = CopilotAgent(executable=fake.path, environment=OFFLINE)
        await execute(agent, context.request("And now?"), context)

    prompt = fake.heard("session.send")[0]["prompt"]
    recovered = [e.data["code"] for e in context.events if e.type == "error_recovered"]
    assert fake.heard("session.resume")[0]["sessionId"] == "session-1"
    assert ("user: Do it." in prompt) is not kept
    assert recovered == ([] if kept else ["continuation_fallback"])
