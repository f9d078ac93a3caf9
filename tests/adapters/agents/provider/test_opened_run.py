from __future__ import annotations

from typing import Any

import attrs
import pytest
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.failures import ContinuationLost
from moorage.adapters.agents.provider.hooks import Hooks
from moorage.adapters.agents.provider.opened_run import AgentParts, OpenedRun, open_run
from moorage.adapters.agents.provider.provider_sessions import save_handle
from moorage.adapters.agents.provider.run_report import RunReport
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument


def parts(hooks: Hooks | None = None, **settings: Any) -> AgentParts:
    return AgentParts(provider="twin", settings=AgentSettings(**settings), hooks=hooks)


async def opened(
    context: RecordingContext, input: Any = "Hello", made: AgentParts | None = None
) -> OpenedRun:
    return await open_run(made or parts(), context.request(input), context)


async def talked(**settings: Any) -> RecordingContext:
    """The context of a second run, in a session where one has ended that twin knows of."""
    first = RecordingContext()
    async with DeltaStream(first) as deltas:
        report = RunReport(first, deltas, "twin")
        await (await opened(first, "Who are you?", parts(**settings))).tell_said(report)
        await report.emit("message_received", {"content": "Ada"})
    last = first.events[-1]
    first.events.append(attrs.evolve(last, type="run_completed", data={}, seq=last.seq + 1))
    await save_handle(first, "twin", "s1")
    return RecordingContext(
        run_id="second",
        history=first.events,
        session_metadata=dict((await first.session.info()).metadata),
    )


async def test_a_first_run_begins_afresh() -> None:
    run = await opened(RecordingContext())

    assert run.native_id is None
    assert run.prompt().text == "Hello"


async def test_a_later_run_continues_natively_with_what_is_new() -> None:
    run = await opened(await talked(), "Again?")

    assert run.native_id == "s1"
    assert run.prompt().text == "Again?"


async def test_a_session_that_turns_out_to_be_lost_is_replayed_and_told() -> None:
    context = await talked()

    run = (await opened(context, "Again?")).without_native("it is gone")
    await run.tell_fallback()

    assert run.native_id is None
    assert "user: Who are you?\nassistant: Ada" in run.prompt().text
    assert context.events[-1].data["code"] == "continuation_fallback"


async def test_native_alone_raises_where_it_is_lost() -> None:
    run = await opened(await talked(), "Again?", parts(continuation="native"))

    with pytest.raises(ContinuationLost, match="it is gone"):
        run.without_native("it is gone")


async def test_what_the_session_recorded_holds_unless_somebody_says_otherwise() -> None:
    context = await talked(model="small", system_prompt="Be brief.")
    input = {"prompt": "Again?", "options": {"model": "huge"}}

    recorded = await opened(context)
    by_agent = await opened(context, made=parts(model="big"))
    by_input = await opened(context, input, parts(model="big"))

    assert [run.settings.model for run in (recorded, by_agent, by_input)] == [
        "small",
        "big",
        "huge",
    ]
    assert by_input.settings.system_prompt == "Be brief."


async def test_only_settings_that_changed_are_recorded_again() -> None:
    context = await talked(model="small")
    async with DeltaStream(context) as deltas:
        report = RunReport(context, deltas, "twin")
        run = await opened(context, made=parts(model="big"))
        await run.tell_said(report)

    recorded = [e.data for e in context.events if e.type == "conversation_configured"]
    assert recorded == [{"model": "small", "provider": "twin"}, {"model": "big"}]


async def test_a_second_attempt_does_not_tell_again_what_is_said() -> None:
    first = RecordingContext()
    second = RecordingContext(attempt=2)
    for context in (first, second, second):
        async with DeltaStream(context) as deltas:
            await (await opened(context)).tell_said(RunReport(context, deltas, "twin"))
    third = RecordingContext(attempt=2, history=first.events)
    async with DeltaStream(third) as deltas:
        await (await opened(third)).tell_said(RunReport(third, deltas, "twin"))

    sent = [sum(e.type == "message_sent" for e in c.events) for c in (first, second, third)]
    assert sent == [1, 1, 1]


async def test_the_hooks_at_the_prompt_have_their_say() -> None:
    async def louder(content: Any) -> Any:
        return content.upper()

    made = parts(Hooks(prompt=[louder]))
    system = {"role": "system", "content": "Be brief."}
    input = {"messages": [system, {"role": "user", "content": "Hi"}]}

    run = await opened(RecordingContext(), input, made)

    assert [message.text for message in run.said] == ["Be brief.", "HI"]


async def test_the_next_run_of_a_session_reads_only_what_is_new() -> None:
    made = parts()
    context = await talked()
    await opened(context, made=made)
    read: list[int] = []
    events = context.session.events

    async def watched(*, after: int = 0, **more: Any) -> Any:
        read.append(after)
        return await events(after=after, **more)

    context.session.events = watched  # type: ignore[method-assign]
    run = await opened(context, "Again?", made)

    assert run.native_id == "s1"
    assert 0 not in read


async def test_what_was_said_when_a_run_began_is_replayed_and_nothing_later() -> None:
    made = parts()
    context = await talked()
    run = await opened(context, "Again?", made)
    async with DeltaStream(context) as deltas:
        await run.tell_said(RunReport(context, deltas, "twin"))
    await opened(context, "Beside it", made)

    prompt = run.without_native("it is gone").prompt()

    assert prompt.text.count("Again?") == 1


async def test_a_failure_is_told_once_and_the_hooks_hear_of_it() -> None:
    heard: list[Any] = []

    async def start(request: Any) -> None:
        heard.append("start")

    async def end(request: Any, result: Any) -> None:
        heard.append(result)

    context = RecordingContext()
    run = await opened(context, made=parts(Hooks(start=[start], end=[end])))
    failure = ContinuationLost("it is gone", provider="twin")

    async def fail() -> dict[str, Any]:
        raise failure

    for told in (False, True):
        failure.told = told
        with pytest.raises(ContinuationLost):
            await run.executed(fail)

    assert heard == ["start", failure] * 2
    assert [event.data["code"] for event in context.events] == ["continuation_lost"]


@pytest.mark.parametrize(
    "input", [None, "", {"prompt": "x", "options": {"depth": 1}}, {"messages": []}]
)
async def test_input_that_cannot_be_meant_is_refused(input: Any) -> None:
    with pytest.raises(InvalidArgument):
        await opened(RecordingContext(), input)


@pytest.mark.parametrize(
    "arguments",
    [
        {"approval_default": "maybe"},
        {"approval_timeout_seconds": 0},
        {"approval_timeout_seconds": True},
        {"coalesce_seconds": -1},
    ],
)
def test_parts_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        AgentParts(provider="twin", settings=AgentSettings(), **arguments)
