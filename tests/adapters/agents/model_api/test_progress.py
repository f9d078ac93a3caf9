from __future__ import annotations

from moorage.adapters.agents.model_api.progress import Progress, recorded_progress
from moorage.adapters.agents.recording import RecordingContext

ANSWER = {"content": "", "tool_calls": [{"tool_call_id": "c1"}]}


async def filled() -> RecordingContext:
    context = RecordingContext()
    await context.emit("message_sent", {"role": "user", "content": "1"})
    await context.emit("message_sent", {"role": "user", "content": "2", "steer_id": "s"})
    await context.emit("message_received", ANSWER)
    await context.emit("message_streamed", {"delta": "x"})
    return context


async def test_an_earlier_call_left_its_progress_in_the_log() -> None:
    history = (await filled()).events
    context = RecordingContext(history=history, attempt=2)

    progress = await recorded_progress(context.request(), context)

    assert progress == Progress(sent=1, turns=1, last=ANSWER, call_ids={"c1"})


async def test_a_run_that_was_parked_has_progress_in_its_first_attempt() -> None:
    history = (await filled()).events
    context = RecordingContext(history=history, answers={"approval:c1": True})

    assert (await recorded_progress(context.request(), context)).turns == 1


async def test_what_other_runs_did_is_no_progress() -> None:
    history = (await filled()).events
    context = RecordingContext(history=history, run_id="other", attempt=2)

    assert await recorded_progress(context.request(), context) == Progress()


def test_a_message_behind_an_answer_is_not_seen_by_the_model_yet() -> None:
    progress = Progress()
    progress.apply("message_received", {"content": "x"})
    progress.apply("message_sent", {"role": "user", "content": "y", "steer_id": "s"})

    assert progress.said

    progress.apply("message_received", {"content": "z"})
    progress.apply("turn_completed", {})

    assert not progress.said
    assert progress.ended
