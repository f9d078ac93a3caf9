"""Programs that end without leaving: each is a real process."""

import subprocess
import sys
import textwrap

import pytest
from moorage.adapters.gateways import sync_host
from moorage.adapters.gateways.hosting import process_exit
from moorage.runtime import RunState
from moorage.stores import JournalStore, MemoryStore

SECONDS_MAX = 120

BEGIN = """
    import asyncio, os, sys, threading
    from moorage.adapters.gateways import asyncio_host, sync_host
    from moorage.adapters.gateways.hosting import process_exit
    from moorage.stores import JournalStore

    # who waited for a deadline would be killed long before this one
    process_exit.leave_all.__defaults__ = (3_600,)

    @sync_host.sync_agent
    def endless(request, context):
        context.emit("message_streamed", {})
        context.sleep(3_600)

    @sync_host.sync_agent
    def deaf(request, context):
        context.emit("message_streamed", {})
        threading.Event().wait()

    def begin(agent):
        block = sync_host.open_supervisor(JournalStore(sys.argv[1]), agent)
        session = block.__enter__().session("user-1")
        run = session.submit("hello", key="k")
        with session.subscribe(types={"message_streamed"}) as events:
            next(events)
        return block, session
"""


def run(program, path, *, code=0):
    """Run a program to its end; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(program), str(path)],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def state_afterwards(path):
    """How the run that was left behind has ended, and whether a recovery had to end it."""
    with sync_host.open_supervisor(JournalStore(path), {"other": len}) as supervisor:
        session = supervisor.session("user-1")
        return session.submit("hello", key="k").wait().state


def events_of(path):
    with sync_host.open_reader(JournalStore(path)) as reader:
        return [event.type for event in reader.session("user-1").events()]


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("kept = begin(endless)", 0),
        ("kept = begin(endless)\nraise LookupError", 1),
    ],
    ids=["the end of the program", "an exception"],
)
def test_an_exit_without_leaving_interrupts_what_runs_and_takes_no_time(program, code, tmp_path):
    printed = run(program, tmp_path, code=code)

    assert "run_interrupted" in events_of(tmp_path)  # the program itself has recorded it
    assert "supervisor_did_not_end" not in printed


def test_an_exit_from_asyncio_without_leaving_interrupts_what_runs(tmp_path):
    program = """
    kept = []

    async def main():
        block = asyncio_host.open_supervisor(JournalStore(sys.argv[1]), endless)
        kept.append(block)
        session = await (await block.__aenter__()).session("user-1")
        await session.submit("hello", key="k")
        async with session.subscribe(types={"message_streamed"}) as events:
            await events.__anext__()

    asyncio.run(main())
    """
    run(program, tmp_path)

    assert "run_interrupted" in events_of(tmp_path)


def test_an_agent_that_does_not_end_holds_the_exit_up_for_a_bounded_time_only(tmp_path):
    program = """
    process_exit.leave_all.__defaults__ = (0.2,)
    kept = begin(deaf)
    """
    printed = run(program, tmp_path)

    assert "supervisor_did_not_end" in printed
    assert state_afterwards(tmp_path) is RunState.INTERRUPTED


def test_a_forked_process_that_exits_leaves_the_parents_alone(tmp_path):
    program = """
    block, session = begin(endless)
    child = os.fork()
    if not child:
        sys.exit(0)
    os.waitpid(child, 0)
    assert session.status().running, "the child has ended it"
    session.drain(timeout_seconds=0)
    block.__exit__(None, None, None)
    """
    run(program, tmp_path)

    assert state_afterwards(tmp_path) is RunState.INTERRUPTED


def test_what_has_been_left_is_not_left_again():
    with sync_host.open_supervisor(MemoryStore(), len):
        assert len(process_exit._open) == 1

    assert len(process_exit._open) == 0
    process_exit.leave_all()
