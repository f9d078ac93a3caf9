from __future__ import annotations

import subprocess
import sys

import pytest
from moorage.adapters.gateways.unfinished import (
    refuse_others,
    starts_nothing,
    tell_of,
    unfinished_runs,
)
from moorage.runtime import InvalidArgument, SessionHeld, open_reader
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.conformance.scenario import Author, facts, note, opened

LEFT = """
import os, signal, sys, trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

async def agent(request, context):
    if request.input == "park":
        await context.park("approval", timeout_seconds=3600)
    await trio.sleep_forever()

async def main():
    async with open_supervisor(JournalStore(sys.argv[1]), agent) as supervisor:
        session = await supervisor.session("left")
        for text in sys.argv[3:]:
            await session.submit(text, on_interrupt=sys.argv[2])
        async with session.subscribe() as events:
            async for event in events:
                if event.type in ("run_started", "run_waiting"):
                    if event.type == "run_waiting" or sys.argv[3] != "park":
                        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


def left(path, on_interrupt: str, *inputs: str) -> JournalStore:
    """A journal that a process has left behind in the middle of its work."""
    subprocess.run([sys.executable, "-c", LEFT, str(path), on_interrupt, *inputs], timeout=120)
    return JournalStore(path)


async def test_unfinished_runs_are_counted_by_session(tmp_path):
    store = left(tmp_path / "data", "fail", "a", "b")

    assert await unfinished_runs(store) == {"left": 2}
    assert await unfinished_runs(JournalStore(tmp_path / "none")) == {}


async def test_where_a_store_is_shared_runs_count_that_no_live_process_has(autojump_clock):
    store = MemoryStore(lease_seconds=10)
    async with opened(store.peer) as other:
        author = await Author.of(other, "served")
        await author.write(note(1), info=facts("served", runs={"queued": 2}))

        while_served = await unfinished_runs(store)
        await other.release(author.claim)

        assert while_served == {}
        assert await unfinished_runs(store) == {"served": 2}


@pytest.mark.parametrize(
    ("on_interrupt", "inputs", "nothing"),
    [
        ("fail", ["a"], True),
        ("requeue", ["a"], False),
        ("fail", ["a", "b"], False),
        ("fail", ["park"], False),
    ],
)
async def test_an_agent_is_called_for_what_waits_its_turn_or_time_and_not_for_what_was_interrupted(
    tmp_path, on_interrupt, inputs, nothing
):
    store = left(tmp_path / "data", on_interrupt, *inputs)

    async with open_reader(store) as reader:
        assert nothing == await starts_nothing(reader.session("left"))


async def test_others_are_refused_by_name_and_not_looked_at_while_somebody_serves_them(
    moorage, owner
):
    store = JournalStore(moorage.data)

    with pytest.raises(SessionHeld):
        await refuse_others(store, ["a"])
    owner.process.kill()
    owner.process.wait()
    with pytest.raises(InvalidArgument, match=r"'a', 'b', 'c', \.\.\.; --recover-others"):
        await refuse_others(store, ["a", "b", "c", "d"])


def test_several_are_told_in_the_plural(capsys):
    tell_of({"a": 2, "b": 1, "c": 1, "d": 1, "e": 1}, "a")

    assert capsys.readouterr().err.splitlines() == [
        "moorage: 2 unfinished runs of session 'a' go on first",
        "moorage: 4 other sessions have unfinished runs, which go on too: 'b', 'c', 'd', ...",
    ]
