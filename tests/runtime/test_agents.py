"""The port of agents: what an agent may be, and what it may count on."""

from __future__ import annotations

import inspect
import types

import attrs
import pytest
import trio
from moorage.runtime import InvalidArgument, RunContext, RunContextWrapper, open_supervisor
from moorage.runtime.agents import check_configured, to_await
from moorage.runtime.execution import Execution
from moorage.stores import MemoryStore


async def test_what_can_be_awaited_is_whatever_python_awaits():
    class Returned:
        def __await__(self):
            yield from ()
            return "output"

    async def agent():
        return "output"

    @types.coroutine
    def of_a_generator():
        yield from ()
        return "output"

    for returned in (Returned(), agent(), of_a_generator()):
        assert await to_await(returned) == "output"


async def test_an_agent_that_returned_nothing_to_await_is_told_what_makes_it_one(autojump_clock):
    def returning_at_once(request, context):
        return 5

    async def streaming(request, context):
        yield 5

    told = {}
    agents = {"default": returning_at_once, "streaming": streaming}
    async with open_supervisor(MemoryStore(), agents) as supervisor:
        session = await supervisor.session("s")
        for name in agents:
            run = await session.submit(None, agent=name)
            told[name] = (await run.wait()).error

    assert {error.code for error in told.values()} == {"agent_failed"}
    assert told["default"].message.startswith("the agent returned int, which cannot be awaited")
    assert "sync_agent makes one of a plain function" in told["default"].message
    assert "returned async_generator" in told["streaming"].message


def port_methods():
    return [name for name in vars(RunContext) if not name.startswith("_")]


def test_an_execution_has_every_method_of_the_port_with_its_parameters():
    assert set(port_methods()) >= {"emit", "emit_nowait", "flush", "park", "metadata", "attempt"}
    for name in port_methods():
        wanted, given = getattr(RunContext, name), getattr(Execution, name)
        if callable(wanted):
            assert list(inspect.signature(given).parameters) == list(
                inspect.signature(wanted).parameters
            )
            assert inspect.iscoroutinefunction(given) == inspect.iscoroutinefunction(wanted)


@pytest.mark.parametrize("name", port_methods())
def test_a_wrapper_has_every_member_of_the_port_itself(name):
    wanted, given = getattr(RunContext, name), vars(RunContextWrapper).get(name)

    assert given is not None, f"let RunContextWrapper pass {name} on: wrappers rely on it"
    assert isinstance(given, property) == isinstance(wanted, property)
    if callable(wanted):
        assert inspect.signature(given) == inspect.signature(wanted)
        assert inspect.iscoroutinefunction(given) == inspect.iscoroutinefunction(wanted)


class Noting:
    """A context that notes what is done to it, and gives its name back."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if isinstance(getattr(RunContext, name), property):
            return f"the {name}"

        def sync(*arguments, **named):
            self.calls.append((name, arguments, named))
            return f"{name} returned"

        async def call(*arguments, **named):
            return sync(*arguments, **named)

        return call if inspect.iscoroutinefunction(getattr(RunContext, name)) else sync


@pytest.mark.parametrize("name", port_methods())
async def test_a_wrapper_passes_everything_on(name):
    inside = Noting()
    member = getattr(RunContextWrapper(inside), name)
    if isinstance(getattr(RunContext, name), property):
        assert member == f"the {name}"
        return

    parameters = inspect.signature(member).parameters.values()
    positional = [f"a {p.name}" for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: f"a {p.name}" for p in parameters if p.kind is p.KEYWORD_ONLY}
    returned = member(*positional, **named)
    if inspect.iscoroutine(returned):
        returned = await returned

    assert inside.calls == [(name, tuple(positional), named)]
    assert returned in (f"{name} returned", None)
    assert (returned is None) == (inspect.signature(member).return_annotation == "None")


def test_every_public_part_of_the_port_is_documented():
    undocumented = {"session_id", "run_id", "attempt"}
    for name in port_methods():
        assert name in undocumented or getattr(RunContext, name).__doc__, name


async def test_an_agent_may_be_any_callable_that_can_be_awaited(autojump_clock):
    @attrs.define
    class Greeter:
        greeting: str

        async def __call__(self, request, context):
            return f"{self.greeting} {request.input}"

        async def method(self, request, context):
            return [self.greeting]

    async def function(request, context):
        return {"function": True}

    greeter = Greeter("hello")
    agents = {
        "object": greeter,
        "method": greeter.method,
        "function": function,
        "lambda": lambda request, context: function(request, context),
    }
    async with open_supervisor(MemoryStore(), agents) as supervisor:
        session = await supervisor.session("s")
        outputs = {name: (await session.execute("you", agent=name)).output for name in agents}

    assert outputs == {
        "object": "hello you",
        "method": ["hello"],
        "function": {"function": True},
        "lambda": {"function": True},
    }


async def test_an_agent_that_cannot_be_awaited_fails_its_run(autojump_clock):
    def plain(request, context):
        return "not awaitable"

    async with open_supervisor(MemoryStore(), plain) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(1)

    assert (outcome.state, outcome.error.type) == ("failed", "TypeError")


async def test_a_wrapper_around_an_agent_is_an_agent(autojump_clock):
    """Retries, for one: the core has none."""
    attempts = []

    async def flaky(request, context):
        attempts.append(1)
        await context.emit("message_streamed", {"attempt": len(attempts)})
        if len(attempts) < 3:
            raise RuntimeError("again")
        return "at last"

    def retrying(agent):
        async def wrapper(request, context):
            while True:
                try:
                    return await agent(request, context)
                except RuntimeError as error:
                    await context.emit("error_recovered", {"message": str(error)})
                    await trio.sleep(1)

        return wrapper

    async with open_supervisor(MemoryStore(), retrying(flaky)) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(None)
        events = await session.events(run_id=outcome.run_id)

    assert outcome.output == "at last"
    assert [event.type for event in events][2:-1] == [
        "message_streamed",
        "error_recovered",
    ] * 2 + ["message_streamed"]


async def test_an_agent_may_start_tasks_of_its_own_that_emit_and_are_cancelled_with_it(
    autojump_clock,
):
    alive = []

    async def agent(request, context):
        async def child(number):
            alive.append(number)
            try:
                while True:
                    await context.emit("message_streamed", {"child": number})
                    await trio.sleep(1)
            finally:
                alive.remove(number)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(child, number)

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(None, timeout_seconds=5.5)
        events = await session.events(types={"message_streamed"})

    assert outcome.state == "timed_out"
    assert alive == []
    assert len(events) == 18


def test_an_agent_that_there_is_not_is_told_with_those_there_are():
    async def one(request, context):
        pass

    check_configured(None, {None: one})
    check_configured("b", {"b": one, "a": one, None: one})
    with pytest.raises(InvalidArgument, match=r"'c' is configured .*: there are a, b$"):
        check_configured("c", {"b": one, "a": one, None: one})
    with pytest.raises(InvalidArgument, match="only one without a name"):
        check_configured("c", {None: one})
