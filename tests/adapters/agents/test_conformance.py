"""Good agents pass every check; each broken one fails the check that is about its fault."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import attrs
import pytest
import trio
from moorage.adapters.agents import ProcessAgent, ScriptedAgent, conformance
from moorage.adapters.agents.conformance import CHECKS, INPUT, NonConforming, child_processes
from moorage.adapters.agents.scripted import Fail, IgnoreCancel, Return, Say, Wait
from moorage.runtime.errors import BufferFull, InvalidArgument


@attrs.frozen
class Scripted:
    cancel_grace_seconds = 0.1

    def returning(self, output):
        return ScriptedAgent([Return(output)])

    def streaming(self, deltas):
        return ScriptedAgent([Say(delta) for delta in deltas])

    def failing(self, message):
        return ScriptedAgent([Say("so far so good"), Fail(message=message)])

    def endless(self):
        return ScriptedAgent([Say("working"), Wait(10_000)])


@attrs.frozen
class Process:
    cancel_grace_seconds = 60.0

    def returning(self, output):
        line = json.dumps({"type": "result", "data": output})
        return ProcessAgent(["printf", "%s\n", line], lines="json")

    def streaming(self, deltas):
        return ProcessAgent(["printf", "%s", *deltas])

    def failing(self, message):
        return ProcessAgent([sys.executable, "-I", "-S", "-c", f"raise SystemExit({message!r})"])

    def endless(self):
        return ProcessAgent(["sh", "-c", "echo working; sleep 600"])


@attrs.frozen
class Function:
    """Plain async functions, as most agents are; the broken ones below change one of them."""

    cancel_grace_seconds = 0.1

    def returning(self, output):
        async def agent(request, context):
            await trio.lowlevel.checkpoint()
            return output

        return agent

    def streaming(self, deltas):
        async def agent(request, context):
            for delta in deltas:
                await context.emit("message_streamed", {"delta": delta})
            return {"content": "".join(deltas)}

        return agent

    def failing(self, message):
        async def agent(request, context):
            raise RuntimeError(message)

        return agent

    def endless(self):
        async def agent(request, context):
            await context.emit("turn_completed", {})
            await trio.sleep_forever()

        return agent


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("fixture", [Scripted(), Function()], ids=["scripted", "function"])
async def test_agents_in_this_process_conform(check, fixture, autojump_clock):
    await check(fixture)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.usefixtures("leaves_nothing")
async def test_process_agents_conform(check):
    with trio.fail_after(120):
        await check(Process())


class EmitsReservedTypes(Function):
    def streaming(self, deltas):
        async def agent(request, context):
            for delta in deltas:
                await context.emit("message_streamed", {"delta": delta})
            try:
                await context.emit("run_completed", {"output": 1})
            except InvalidArgument:
                return

        return agent


class EmitsWhatIsNotPlain(Function):
    def streaming(self, deltas):
        async def agent(request, context):
            await context.emit("message_streamed", {"delta": "".join(deltas), "at": {1, 2}})

        return agent


class ReturnsASet(Function):
    def returning(self, output):
        async def agent(request, context):
            return {"all": {1, 2}}

        return agent


class ChangesItsOutput(Function):
    def returning(self, output):
        async def agent(request, context):
            return output or {}

        return agent


class IgnoresCancellation(Function):
    def endless(self):
        # an hour, so that the check can end; it must have complained long before
        return ScriptedAgent([Say("working"), IgnoreCancel(3600)])


class WorksThoughCancelledBefore(Function):
    def endless(self):
        async def agent(request, context):
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            await context.emit("turn_completed", {})
            await trio.sleep_forever()

        return agent


class ChangesItsRequest(Function):
    def streaming(self, deltas):
        good = super().streaming(deltas)

        async def agent(request, context):
            request.input["messages"].append("mine")
            return await good(request, context)

        return agent


class LeaksATask(Function):
    def returning(self, output):
        async def agent(request, context):
            trio.lowlevel.spawn_system_task(trio.sleep, 3600, name="leaked")
            return output

        return agent


class EmitsAfterItsEnd(Function):
    def streaming(self, deltas):
        good = super().streaming(deltas)

        async def agent(request, context):
            async def late():
                await trio.sleep(0.01)
                try:
                    await context.emit("turn_completed", {})
                except Exception:
                    return

            trio.lowlevel.spawn_system_task(late)
            return await good(request, context)

        return agent


class LeaksAChild(Function):
    def returning(self, output):
        async def agent(request, context):
            subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220
            return output

        return agent


class LosesEventsWhenTheLogIsSlow(Function):
    def streaming(self, deltas):
        async def agent(request, context):
            for delta in deltas:
                try:
                    context.emit_nowait("message_streamed", {"delta": delta})
                except BufferFull:
                    await trio.lowlevel.checkpoint()

        return agent


class FailsInAGroup(Function):
    def failing(self, message):
        async def agent(request, context):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(super(FailsInAGroup, self).failing(message), request, context)

        return agent


class HidesItsFailure(Function):
    def failing(self, message):
        return self.returning({"error": message})


class FailsWithoutReason(Function):
    def failing(self, message):
        return super().failing("something went wrong")


class FailsWithDetailsThatAreNotPlain(Function):
    def failing(self, message):
        async def agent(request, context):
            error = RuntimeError(message)
            error.details = {"request": request}
            raise error

        return agent


class ReturnsOtherContentThanItStreamed(Function):
    def streaming(self, deltas):
        async def agent(request, context):
            for delta in deltas:
                await context.emit("message_streamed", {"delta": delta})
            return {"content": "".join(deltas).strip() + "!"}

        return agent


class StreamsOutOfOrder(Function):
    def streaming(self, deltas):
        return super().streaming(sorted(deltas))


class StreamsNothing(Function):
    def streaming(self, deltas):
        return self.returning(None)


class MixesRunsUp(Function):
    def streaming(self, deltas):
        waiting: list[str] = []

        async def agent(request, context):
            for delta in deltas:
                waiting.append(delta)
                await trio.lowlevel.checkpoint()
                while waiting:
                    await context.emit("message_streamed", {"delta": waiting.pop(0)})
                await trio.lowlevel.checkpoint()

        return agent


class RemembersItsLastRun(Function):
    def streaming(self, deltas):
        left = list(deltas)

        async def agent(request, context):
            while left:
                await context.emit("message_streamed", {"delta": left.pop(0)})

        return agent


class CancelsAllItsRuns(Function):
    def endless(self):
        scopes: list[trio.CancelScope] = []

        async def agent(request, context):
            await context.emit("turn_completed", {})
            with trio.CancelScope() as mine:
                scopes.append(mine)
                try:
                    await trio.sleep_forever()
                finally:
                    for scope in scopes:
                        scope.cancel()

        return agent


class WorksOnlyOnce(Function):
    def endless(self):
        good = super().endless()
        used = []

        async def agent(request, context):
            used.append(request)
            if len(used) == 1:
                await good(request, context)
            await context.emit("error_occurred", {"code": "broken"})

        return agent


@pytest.mark.parametrize(
    ("fixture", "check", "message"),
    [
        (
            EmitsReservedTypes,
            "events_are_plain_and_of_allowed_types",
            "written by the session itself",
        ),
        (EmitsWhatIsNotPlain, "events_are_plain_and_of_allowed_types", "set"),
        (ReturnsASet, "output_arrives_as_plain_data", "set"),
        (ChangesItsOutput, "nothing_at_all_is_an_output_too", "output={}"),
        (IgnoresCancellation, "cancellation_ends_it_within_its_grace", "still ran"),
        (WorksThoughCancelledBefore, "cancelled_before_it_begins_it_does_nothing", "3.0 s"),
        (ChangesItsRequest, "the_request_is_left_as_it_was", "changed its request"),
        (LeaksATask, "output_arrives_as_plain_data", "leaked"),
        (EmitsAfterItsEnd, "streamed_text_arrives_whole_and_in_order", "after its end"),
        (LosesEventsWhenTheLogIsSlow, "a_slow_log_loses_no_event", "only 'The '"),
        (FailsInAGroup, "failure_is_an_ordinary_exception", "bare"),
        (HidesItsFailure, "failure_is_an_ordinary_exception", "not failed"),
        (FailsWithoutReason, "failure_is_an_ordinary_exception", "does not say why"),
        (FailsWithDetailsThatAreNotPlain, "failure_is_an_ordinary_exception", "RunRequest"),
        (ReturnsOtherContentThanItStreamed, "streamed_text_arrives_whole_and_in_order", "content"),
        (StreamsOutOfOrder, "streamed_text_arrives_whole_and_in_order", "it streamed"),
        (StreamsNothing, "events_are_plain_and_of_allowed_types", "nothing"),
        (MixesRunsUp, "two_runs_at_once_are_independent", "beside another run"),
        (RemembersItsLastRun, "a_second_attempt_starts_from_the_beginning", "attempt 2"),
        (CancelsAllItsRuns, "cancelling_one_run_leaves_the_other_alone", "other run ended"),
        (WorksOnlyOnce, "a_run_after_a_cancelled_one_works", "before it was cancelled"),
    ],
)
async def test_a_broken_agent_fails(fixture, check, message, autojump_clock):
    with pytest.raises(NonConforming, match=message):
        await getattr(conformance, check)(fixture())


async def test_an_agent_that_leaks_a_child_fails(monkeypatch):
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args: started.append(real(*args)))

    with pytest.raises(NonConforming, match="left the child processes") as caught:
        await conformance.output_arrives_as_plain_data(LeaksAChild())

    assert str(started[0].pid) in str(caught.value)
    started[0].kill()
    started[0].wait()


def test_every_check_is_in_the_list():
    checks = {
        function
        for name, function in vars(conformance).items()
        if inspect.iscoroutinefunction(function) and not name.startswith("_") and name != "execute"
    }

    assert checks == set(CHECKS)


def test_the_input_of_the_checks_is_never_changed():
    assert INPUT["messages"] == [{"role": "user", "content": "Hello"}]


def test_without_proc_no_child_is_suspected(monkeypatch, tmp_path):
    monkeypatch.setattr(conformance, "Path", lambda path: tmp_path)

    assert child_processes() == set()
