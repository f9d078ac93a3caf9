"""An agent whose large payloads go elsewhere: it does not notice, and the log does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime import NewEvent, open_supervisor
from moorage.runtime.errors import InvalidArgument, RunFailed
from moorage.runtime.ports import Store
from moorage.stores import MemoryStore
from moorage.stores.artifacts import (
    ArtifactsFailed,
    MemoryArtifacts,
    Totals,
    bring_back,
    list_artifacts,
    put_artifact,
    reference_in,
    references_in,
    totals_of,
    with_artifacts,
)
from moorage.stores.artifacts.agent_wrapper import not_conversation

if TYPE_CHECKING:
    from moorage.runtime import RunContext, RunRequest
    from moorage.stores.artifacts.port import Source, Stored

LARGE = "a large output " * 100
OVER = 200


async def test_large_outputs_and_events_are_references_in_the_log() -> None:
    async def agent(request: RunRequest, context: RunContext) -> object:
        await context.emit("tool_call_completed", {"tool_call_id": "1", "tool_output": LARGE})
        await context.emit("message_received", {"content": LARGE})
        context.emit_nowait("tool_call_completed", {"tool_call_id": "2", "tool_output": LARGE})
        return {"content": LARGE, "small": 1}

    artifacts = MemoryArtifacts()
    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, artifacts, over_bytes=OVER)
    ) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("go")
        output = (await run.wait()).unwrap()
        events = await session.events(run_id=run.id)
        lines = await list_artifacts(session)
        info = await session.info()

    assert reference_in(output["content"]) is not None
    assert output["small"] == 1
    assert await bring_back(output, artifacts) == {"content": LARGE, "small": 1}
    told = [event for event in events if event.type in ("tool_call_completed", "message_received")]
    assert [list(references_in(event.data)) != [] for event in told] == [True, False, False]
    assert [line.run_id for line in lines] == [run.id, run.id]
    assert totals_of(info) == Totals(2, 2 * len(LARGE))
    types = [event.type for event in events]
    assert types.index("artifact_stored") < types.index("tool_call_completed")


async def test_the_agent_reads_what_it_wrote_and_what_it_was_given() -> None:
    seen: list[Any] = []

    async def agent(request: RunRequest, context: RunContext) -> object:
        seen.append(request.input)
        await context.session.append("note", {"text": LARGE})
        await context.session.append_many([NewEvent("note", LARGE), NewEvent("message_x", LARGE)])
        await context.emit("other", [LARGE])
        await context.flush()
        events = await context.session.events(types={"note", "other", "message_x"})
        seen.extend(event.data for event in events)
        await context.session.configure(tags={"t": context.session.id})
        seen.append((await context.session.info()).tags)
        return None

    artifacts = MemoryArtifacts()
    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, artifacts, over_bytes=OVER)
    ) as supervisor:
        session = await supervisor.session("s")
        reference = await put_artifact(
            session, artifacts, LARGE.encode(), media_type="text/plain; charset=utf-8"
        )
        run = await session.submit({"document": reference.to_plain()})
        (await run.wait()).unwrap()
        raw = await session.events(types={"note", "other"})

    assert seen == [{"document": LARGE}, {"text": LARGE}, LARGE, LARGE, [LARGE], {"t": "s"}]
    assert all(list(references_in(event.data)) for event in raw)


async def test_questions_and_answers_go_there_and_back() -> None:
    seen: list[Any] = []

    async def agent(request: RunRequest, context: RunContext) -> object:
        seen.append(await context.park("large", {"diff": LARGE}))
        seen.append(await context.ask("asked", {"diff": LARGE}))
        return None

    artifacts = MemoryArtifacts()
    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, artifacts, over_bytes=OVER)
    ) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("go")
        asked: list[Any] = []
        async with session.subscribe(run_id=run.id) as events:
            async for event in events:
                if event.type in ("run_waiting", "run_asked"):
                    asked.append(event.data["data"])
                    answer = await put_artifact(session, artifacts, LARGE.encode())
                    await session.answer(run.id, event.data["name"], answer.to_plain())
                if event.type == "run_completed":
                    break

    assert [list(references_in(data)) != [] for data in asked] == [True, True]
    assert seen == [LARGE.encode(), LARGE.encode()]


async def test_steers_and_facts_of_the_run_pass_through() -> None:
    seen: list[Any] = []

    async def agent(request: RunRequest, context: RunContext) -> object:
        context.accept_steers()
        seen.append((context.session_id, context.run_id, context.attempt, dict(context.metadata)))
        await context.emit("ready", None)
        await context.wait_steer()
        seen.append([steer.message for steer in context.take_steers()])
        return None

    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, MemoryArtifacts())
    ) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("go", metadata={"m": 1})
        async with session.subscribe(run_id=run.id, types={"ready"}) as events:
            await anext(aiter(events))
        await run.steer("turn left")
        await run.wait()

    assert seen == [("s", run.id, 1, {"m": 1}), ["turn left"]]


async def test_a_run_that_fails_is_counted_too_and_fails_with_its_own_error() -> None:
    async def agent(request: RunRequest, context: RunContext) -> object:
        await context.emit("note", LARGE)
        raise KeyError("mine")

    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, MemoryArtifacts(), over_bytes=OVER)
    ) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("go")
        with pytest.raises(RunFailed, match="mine"):
            (await run.wait()).unwrap()

        assert totals_of(await session.info()) == Totals(1, len(LARGE))


class Full(MemoryArtifacts):
    async def put(self, key: str, source: Source, *, media_type: str = "") -> Stored:
        raise ArtifactsFailed("the disk is full")


async def test_a_place_that_fails_fails_the_emit_and_nothing_refers_to_nothing() -> None:
    async def agent(request: RunRequest, context: RunContext) -> object:
        with pytest.raises(ArtifactsFailed):
            await context.emit("note", LARGE)
        return "went on"

    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, Full(), over_bytes=OVER)
    ) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("go")

        assert (await run.wait()).unwrap() == "went on"
        assert await session.events(types={"note", "artifact_stored"}) == []


@pytest.mark.parametrize("moment", ["put", "registered"])
async def test_a_run_that_is_cancelled_in_between_leaves_no_reference_without_artifact(
    moment: str,
) -> None:
    reached = trio.Event()

    class Slow(MemoryArtifacts):
        async def put(self, key: str, source: Source, *, media_type: str = "") -> Stored:
            stored = await super().put(key, source)
            if moment == "put":
                reached.set()
                await trio.sleep_forever()
            return stored

    async def agent(request: RunRequest, context: RunContext) -> object:
        await context.emit("note", LARGE)
        await context.flush()
        reached.set()
        await trio.sleep_forever()

    artifacts = Slow()
    async with open_supervisor(
        MemoryStore(), with_artifacts(agent, artifacts, over_bytes=OVER)
    ) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("go")
        await reached.wait()
        await run.cancel()
        await run.wait()
        events = await session.events(run_id=run.id)

    there = {listed.key async for listed in artifacts.contents()}
    named = {reference.key for event in events for reference in references_in(event.data)}
    assert named <= there
    assert len(named) == (0 if moment == "put" else 1)


def test_what_makes_no_sense_is_refused() -> None:
    async def agent(request: RunRequest, context: RunContext) -> object:
        return None

    with pytest.raises(InvalidArgument, match="over_bytes"):
        with_artifacts(agent, MemoryArtifacts(), over_bytes=0)
    assert [not_conversation(type) for type in ("tool_call_completed", "message_sent")] == [
        True,
        False,
    ]
    assert Store
