"""The README's guarantees through the public names, on the journal. Real clock, no sleeps."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from moorage.runtime import (
    CursorHeld,
    Event,
    RunContext,
    RunRequest,
    RunState,
    Session,
    SessionHeld,
    StoreFailed,
    UnknownRun,
    open_reader,
    open_supervisor,
)
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.faults import Fault, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path


SECONDS = 30


class Gate:
    """An agent that says when it was reached and ends when it is let through."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.news = trio.Event()
        self.open = trio.Event()

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        self.reached.append(request.run_id)
        self.news.set()
        await context.emit("message_streamed", {"delta": "begun"})
        await self.open.wait()
        return {"saw": request.input}


async def echo(request: RunRequest, context: RunContext) -> object:
    await context.emit("message_streamed", {"delta": str(request.input)})
    if request.input == "raise":
        raise ValueError("asked to")
    return request.input


@pytest.mark.promise(1)
async def test_when_submit_returns_the_run_is_in_the_bytes_on_disk(tmp_path: Path) -> None:
    gate = Gate()
    with trio.fail_after(SECONDS):
        async with open_supervisor(JournalStore(tmp_path), gate) as supervisor:
            session = await supervisor.session("s")
            await session.pause()

            run = await session.submit("remember me")

            segments = b"".join(p.read_bytes() for p in (tmp_path / "segments").glob("*.log"))
            assert run.id.encode() in segments


@pytest.mark.promise(5)
async def test_a_run_is_awaited_before_during_and_after_it_and_after_a_restart(
    tmp_path: Path,
) -> None:
    gate, outcomes = Gate(), []
    with trio.fail_after(SECONDS):
        async with open_supervisor(JournalStore(tmp_path), gate) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(1)

            async def wait() -> None:
                outcomes.append(await session.wait(run.id))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                nursery.start_soon(wait)
                await gate.news.wait()
                with pytest.raises(trio.TooSlowError):
                    await session.wait(run.id, timeout_seconds=0)
                gate.open.set()
            outcomes.append(await run.wait())
            with pytest.raises(UnknownRun):
                await session.wait("run_that_never_was")
        async with open_supervisor(JournalStore(tmp_path), gate) as supervisor:
            again = await supervisor.session("s", mode="resume")
            outcomes.append(await again.wait(run.id))

    assert [outcome.state for outcome in outcomes] == [RunState.COMPLETED] * 4
    assert len(set(map(str, outcomes))) == 1


@pytest.mark.promise(9)
async def test_a_subscriber_that_does_not_read_delays_nobody(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS):
        async with open_supervisor(JournalStore(tmp_path), echo) as supervisor:
            session = await supervisor.session("s")
            async with session.subscribe() as stalled, session.subscribe() as reading:
                for number in range(50):
                    await session.execute(number)
                head = (await session.info()).head_seq
                seen: list[Event] = []
                async for batch in reading.batches():
                    seen += batch
                    if seen[-1].seq == head:
                        break

                late = [await stalled.__anext__() for _ in range(head)]

    assert seen == late
    assert list(range(1, head + 1)) == [event.seq for event in seen]


@pytest.mark.promise(10)
async def test_a_named_subscriber_goes_on_behind_its_last_ack_after_a_restart(
    tmp_path: Path,
) -> None:
    with trio.fail_after(SECONDS):
        async with open_supervisor(JournalStore(tmp_path), echo) as supervisor:
            session = await supervisor.session("s")
            await session.execute(1)
            async with session.subscribe(name="audit") as events:
                first = await events.__anext__()
                second = await events.__anext__()
                await events.ack(first)
                with pytest.raises(CursorHeld):
                    async with session.subscribe(name="audit"):
                        pass
        async with open_supervisor(JournalStore(tmp_path), echo) as supervisor:
            session = await supervisor.session("s")
            async with session.subscribe(name="audit", after="head") as events:
                assert second == await events.__anext__()


@pytest.mark.promise(12)
async def test_a_second_process_is_refused_and_told_who_holds_the_journal(tmp_path: Path) -> None:
    script = (
        "import sys, trio\n"
        "from moorage.runtime import SessionHeld, open_supervisor\n"
        "from moorage.stores import JournalStore\n"
        "async def main():\n"
        "    try:\n"
        "        async with open_supervisor(JournalStore(sys.argv[1]), lambda r, c: None):\n"
        "            print('opened')\n"
        "    except SessionHeld as error:\n"
        "        print('held by', error.holder)\n"
        "trio.run(main)\n"
    )
    with trio.fail_after(SECONDS):
        async with open_supervisor(JournalStore(tmp_path), echo):
            other = await trio.run_process(
                [sys.executable, "-c", script, str(tmp_path)], capture_stdout=True
            )
            with pytest.raises(SessionHeld):
                async with open_supervisor(JournalStore(tmp_path), echo):
                    pass

    assert other.stdout.startswith(b"held by")
    assert f"pid {os.getpid()}".encode() in other.stdout


@pytest.mark.promise(14)
async def test_an_agent_that_raises_or_exits_harms_its_own_run_only() -> None:
    async def exits(request: RunRequest, context: RunContext) -> object:
        raise SystemExit(3)

    with trio.fail_after(SECONDS):
        async with open_supervisor(MemoryStore(), {"default": echo, "exits": exits}) as supervisor:
            bad, good = await supervisor.session("bad"), await supervisor.session("good")

            ends = [await bad.execute("raise"), await bad.execute(1, agent="exits")]

            assert [end.error.code for end in ends if end.error] == ["agent_failed", "agent_exited"]
            assert 1 == (await good.execute(1)).unwrap() == (await bad.execute(1)).unwrap()


@pytest.mark.promise(18)
async def test_leaving_raises_what_the_block_raised_bare_and_leaves_nothing(tmp_path: Path) -> None:
    gate = Gate()
    before = set(threading.enumerate())
    with trio.fail_after(SECONDS), pytest.raises(KeyError, match="mine"):
        async with open_supervisor(JournalStore(tmp_path), gate) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit("x")
            await gate.news.wait()
            raise KeyError("mine")

    new = set(threading.enumerate()) - before
    left = {thread for thread in new if not thread.name.startswith("Trio thread")}
    assert not left
    async with open_reader(JournalStore(tmp_path)) as reader:
        assert RunState.INTERRUPTED is (await reader.session("s").wait(run.id)).state


@pytest.mark.promise(8)
async def test_nothing_is_seen_before_it_is_durable() -> None:
    """The store holds an append back: the agent has emitted, and nobody sees it."""

    class SlowStore(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.let = trio.Event()
            self.let.set()
            self.begun = trio.Event()

        async def append(self, *arguments: Any, **options: Any) -> None:
            if not self.let.is_set():
                self.begun.set()
                await self.let.wait()
            await super().append(*arguments, **options)

    async def read_on(session: Session, early: list[Event]) -> None:
        async with session.subscribe(after=4) as events:
            early.append(await events.__anext__())

    store, gate = SlowStore(), Gate()
    early: list[Event] = []
    with trio.fail_after(SECONDS):
        async with open_supervisor(store, gate) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit("x")
            async with session.subscribe(after=0) as events:
                seen = [await events.__anext__() for _ in range(4)]
                store.let = trio.Event()
                gate.open.set()
                await store.begun.wait()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read_on, session, early)
                    await trio.testing.wait_all_tasks_blocked()
                    assert not early, "seen before it was durable"
                    nursery.cancel_scope.cancel()
                store.let.set()
                await run.wait()

    assert seen[-1].type == "message_streamed"


@pytest.mark.promise(16)
async def test_after_a_failed_sync_agents_are_cancelled_and_reading_goes_on() -> None:
    gate = Gate()
    store = FaultyStore(MemoryStore(), {4: Fault.POISON})
    with trio.fail_after(SECONDS):
        async with open_supervisor(store, gate) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit("x")
            async with session.subscribe(run_id=run.id) as events:
                while (await events.__anext__()).type != "message_streamed":
                    pass

            failures = []
            for _ in range(3):
                with pytest.raises(StoreFailed) as failed:
                    await session.append("note", {})
                failures.append(failed.value.poisoned)

            assert failures == [True, True, True]
            assert "run_started" in [event.type for event in await session.events()]
            await trio.testing.wait_all_tasks_blocked()
            assert supervisor.statistics().runs.in_use == 0
