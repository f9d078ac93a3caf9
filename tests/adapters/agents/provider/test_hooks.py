from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.hooks import (
    Allow,
    Ask,
    ChangeInput,
    Deny,
    Hooks,
    ReplaceResult,
    ToolResult,
)
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument

CALL = ToolCall("call-1", "read_file", {"path": "a"})


def returning(*values):
    """An async hook that returns the values in turn and keeps what it was called with."""
    left = list(values)

    async def hook(*arguments):
        hook.calls.append(arguments)
        return left.pop(0)

    hook.calls = []
    return hook


async def failing(*arguments):
    raise LookupError("no such thing")


def reported(context):
    return [(event.type, event.data["code"], event.data["message"]) for event in context.events]


async def test_a_prompt_can_be_changed_by_one_hook_after_the_other():
    second = returning("HI!")
    hooks = Hooks(prompt=[returning("hi!"), returning(None), second])

    assert await hooks.prompted(RecordingContext(), "hi") == "HI!"
    assert second.calls == [("hi!",)]


async def test_start_and_end_are_told_and_what_they_return_is_dropped():
    context, start, end = RecordingContext(), returning(object()), returning(object())
    hooks, request = Hooks(start=[start], end=[end]), context.request("hi")

    await hooks.started(context, request)
    await hooks.ended(context, request, "bye")

    assert (start.calls, end.calls) == ([(request,)], [(request, "bye")])
    assert context.events == []


async def test_the_input_of_a_call_can_be_changed_and_later_hooks_see_the_change():
    second = returning(None)
    hooks = Hooks(before_tool=[returning(ChangeInput({"path": "b"})), second])

    call = await hooks.before(RecordingContext(), CALL)

    assert call == ToolCall("call-1", "read_file", {"path": "b"})
    assert second.calls == [(call,)]


async def test_the_first_denial_ends_the_matter():
    second = returning(None)
    hooks = Hooks(before_tool=[returning(Deny("not today")), second])

    assert await hooks.before(RecordingContext(), CALL) == Deny("not today")
    assert second.calls == []


async def test_a_result_can_be_replaced():
    result = ToolResult(CALL, "secret")
    hooks = Hooks(after_tool=[returning(ReplaceResult("***")), returning(None)])

    assert await hooks.after(RecordingContext(), result) == ToolResult(CALL, "***")


async def test_a_result_can_be_made_an_error():
    hooks = Hooks(after_tool=[returning(ReplaceResult("too secret", is_error=True))])

    replaced = await hooks.after(RecordingContext(), ToolResult(CALL, "secret"))

    assert replaced == ToolResult(CALL, "too secret", True, "tool_result_replaced")
    assert (replaced.tool_call_id, replaced.tool_name) == ("call-1", "read_file")


@pytest.mark.parametrize("opinion", [Allow(), Deny("no"), Ask()])
async def test_the_first_opinion_of_the_permission_handlers_counts(opinion):
    hooks = Hooks(permission=[returning(None), returning(opinion), returning(Allow())])

    assert await hooks.decide(RecordingContext(), CALL) == opinion


async def test_without_an_opinion_there_is_none():
    assert await Hooks().decide(RecordingContext(), CALL) is None
    assert await Hooks(permission=[returning(None)]).decide(RecordingContext(), CALL) is None


async def test_a_hook_that_raises_counts_as_no_result_and_is_reported():
    context = RecordingContext()
    hooks = Hooks(
        prompt=[failing],
        start=[failing],
        end=[failing],
        before_tool=[failing],
        after_tool=[failing],
    )

    assert await hooks.prompted(context, "hi") == "hi"
    await hooks.started(context, context.request())
    await hooks.ended(context, context.request(), None)
    assert await hooks.before(context, CALL) == CALL
    assert await hooks.after(context, ToolResult(CALL, 1)) == ToolResult(CALL, 1)

    kinds = ["prompt", "start", "end", "before_tool", "after_tool"]
    assert reported(context) == [
        (
            "error_occurred",
            "hook_failed",
            f"the {kind} hook failing failed: LookupError: no such thing",
        )
        for kind in kinds
    ]


async def test_a_permission_handler_that_raises_denies():
    context = RecordingContext()
    hooks = Hooks(permission=[failing, returning(Allow())])

    assert await hooks.decide(context, CALL) == Deny("the permission handler failed")
    assert [code for _, code, _ in reported(context)] == ["hook_failed"]


async def test_a_hook_that_returns_what_it_may_not_has_failed():
    context = RecordingContext()
    hooks = Hooks(before_tool=[returning(False)], permission=[returning(True)])

    assert await hooks.before(context, CALL) == CALL
    assert isinstance(await hooks.decide(context, CALL), Deny)
    assert "it returned False, which is none of Deny, ChangeInput" in reported(context)[0][2]
    assert len(context.events) == 2


async def test_a_cancellation_passes_through_a_hook(autojump_clock):
    async def hangs(call):
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        await Hooks(before_tool=[hangs]).before(RecordingContext(), CALL)

    assert scope.cancelled_caught


def test_what_is_no_function_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        Hooks(before_tool=["deny"])

    assert "hooks.before_tool" in str(caught.value)
