from __future__ import annotations

import os

import pytest
import trio
from moorage.runtime import RunEnded, WrongProcess, open_reader, open_supervisor
from moorage.runtime.own_process import OwnProcess, told_of_forks
from moorage.stores import MemoryStore

from tests.forked import forks, in_fork


class Copied:
    def __init__(self):
        self.is_copy = False

    def become_copy(self):
        self.is_copy = True


@forks
def test_it_tells_a_fork_from_the_process_it_was_made_in():
    process = OwnProcess()

    def look():
        assert not process.is_this
        process.check()

    assert process.is_this
    process.check()
    assert in_fork(look).startswith(f"WrongProcess: this was opened in process {os.getpid()}, ")


@forks
def test_what_is_told_of_forks_becomes_a_copy_there_and_stays_as_it_is_here():
    thing = Copied()
    told_of_forks(thing)

    assert in_fork(lambda: thing.is_copy) == "True"
    assert not thing.is_copy


class Failing(Copied):
    def become_copy(self):
        super().become_copy()
        raise SystemExit("no copy of this")


@forks
def test_one_that_fails_does_not_keep_the_others_from_being_told(capfd):
    things = [Failing() if number % 2 else Copied() for number in range(10)]
    for thing in things:
        told_of_forks(thing)

    assert in_fork(lambda: all(thing.is_copy for thing in things)) == "True"
    assert capfd.readouterr().err.count("SystemExit: no copy of this") == 5


@forks
async def test_a_fork_is_refused_whatever_it_asks_and_the_parents_supervisor_goes_on():
    store = MemoryStore()
    refused = []

    async def agent(request, context):
        return request.input

    async with (
        open_supervisor(store, agent) as supervisor,
        open_reader(store) as reader,
    ):
        session = await supervisor.session("s")
        run = await session.submit("hello")
        await run.wait()
        asked = {
            "submit": lambda: session.submit("more"),
            "wait": run.wait,
            "cancel": run.cancel,
            "status": session.status,
            "events": session.events,
            "append": lambda: session.append("message_sent", {}),
            "session": lambda: supervisor.session("another"),
            "drain": session.drain,
            "delete": lambda: supervisor.delete_session("s"),
            "read": lambda: reader.session("s").events(),
            "listing": lambda: anext(supervisor.sessions()),
        }

        def ask():
            # a thread of trio's own may run another trio, and so may a fork of it
            for name, call in asked.items():
                try:
                    trio.run(trio_fail_after, call)
                except WrongProcess:
                    refused.append(name)
            return " ".join(refused)

        answer = await trio.to_thread.run_sync(in_fork, ask)

        assert answer == " ".join(asked)
        assert (await session.execute("again")).unwrap() == "again"
        assert await session.events(types={"message_sent"}) == []


async def trio_fail_after(call):
    with trio.fail_after(60):
        await call()


@forks
async def test_what_an_agents_fork_emits_is_refused_and_not_lost_silently():
    told = []

    async def agent(request, context):
        def emit():
            context.emit_nowait("message_streamed", {"delta": "from the fork"})

        told.append(in_fork(emit))
        await context.emit("message_streamed", {"delta": "from the parent"})

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        (await session.execute("x")).unwrap()
        events = await session.events(types={"message_streamed"})

    assert told[0].startswith("WrongProcess: ")
    assert [event.data["delta"] for event in events] == ["from the parent"]


async def test_after_a_runs_end_it_is_still_the_runs_end_that_emitting_names():
    contexts = []

    async def agent(request, context):
        contexts.append(context)

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        await (await supervisor.session("s")).execute("x")
        with pytest.raises(RunEnded):
            contexts[0].emit_nowait("message_streamed", {})


@forks
@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (SystemExit(), 0), (SystemExit(7), 7), (SystemExit("why"), 1), (OSError("x"), 1)],
)
def test_a_fork_ends_with_what_it_was_asked_for(error, code, capfd):
    process = OwnProcess()
    child = os.fork()
    if not child:
        process.end_fork(error)
        os._exit(99)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    printed = capfd.readouterr().err
    assert ("OSError: x" in printed, "why" in printed) == (
        isinstance(error, OSError),
        error is not None and error.args == ("why",),
    )


@forks
def test_nothing_ends_in_its_own_process_or_where_an_abandoned_coroutine_is_closed():
    process = OwnProcess()

    process.end_fork(OSError("x"))
    assert in_fork(lambda: process.end_fork(GeneratorExit())) == "None"
