"""Calls as users write them. Never run: ``make check`` type-checks this file, strictly.

A line with ``type: ignore[...]`` shows a mistake that the types must catch: when they no longer
do, the unused comment is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from moorage.adapters.agents import ProcessAgent, ScriptedAgent
from moorage.runtime import (
    Branch,
    Checkpoint,
    DrainReport,
    Event,
    Label,
    Message,
    NodeInfo,
    NodeState,
    RetentionPolicy,
    RetentionReport,
    RetentionRule,
    Run,
    RunContext,
    RunOutcome,
    RunRequest,
    RunState,
    Session,
    SessionHolder,
    SessionInfo,
    SessionState,
    SessionStatus,
    Subscription,
    Supervisor,
    SupervisorLimits,
    UnheldSession,
    current_overrides,
    open_maintenance,
    open_reader,
    open_supervisor,
    overriding,
)
from moorage.stores import Durability, JournalStore, MemoryStore


async def agent(request: RunRequest, context: RunContext) -> object:
    assert_type(request.session_id, str)
    assert_type(request.attempt, int)
    assert_type(request.key, str | None)
    assert_type(context.run_id, str)
    await context.emit("message_streamed", {"delta": "Hel"})
    context.emit_nowait("message_streamed", {"delta": "lo"}, metadata={"provider": "x"})
    await context.flush()
    approved: Any = await context.park("approval", {"question": "go on?"})
    return {"content": "Hello", "approved": approved}


def blocking_agent(request: RunRequest, context: RunContext) -> object:
    return None


def overridden() -> None:
    with overriding(model="small", turns_max=3) as nothing:
        assert_type(nothing, None)
        assert_type(current_overrides(), Mapping[str, Any])


async def opening() -> None:
    limits = SupervisorLimits(runs_queued_max=10, idle_seconds=1.5)
    SupervisorLimits(10)  # type: ignore[misc, call-arg, unused-ignore]
    async with open_supervisor(JournalStore("data"), agent, limits=limits) as supervisor:
        assert_type(supervisor, Supervisor)
    async with open_supervisor(MemoryStore(), {"chat": agent, "job": ScriptedAgent()}):
        pass
    node = MemoryStore(lease_seconds=10.0)
    async with open_supervisor(node, agent, node_tags={"region": "eu"}) as supervisor:
        session = await supervisor.session("s", node_tags={"region": "eu"})
        await session.configure(node_tags={})
        assert_type((await session.info()).demands, frozenset[str])
        for known in await supervisor.nodes():
            assert_type(known, NodeInfo)
            assert_type(known.state, NodeState | None)
    async with open_reader(node.peer()) as reader:
        assert_type(list(await reader.unserved()), list[UnheldSession])
        assert_type(await reader.holder("s"), SessionHolder | None)
    store = JournalStore("data", durability=Durability.COMMIT)
    async with open_supervisor(store, ProcessAgent(["cat"])) as supervisor:
        assert_type(await supervisor.drain(timeout_seconds=30, queued="keep"), DrainReport)
        await supervisor.drain(queued="drop")  # type: ignore[arg-type]
    open_supervisor(MemoryStore(), blocking_agent)  # type: ignore[arg-type]


async def sessions(supervisor: Supervisor) -> None:
    session = await supervisor.session("user-42", slots=2, tags={"tenant": "acme"}, metadata={})
    assert_type(session, Session)
    await supervisor.session()
    await supervisor.session("user-42", mode="resume")
    await supervisor.session("user-42", mode="reuse")  # type: ignore[arg-type]
    await supervisor.session("user-42", "resume")  # type: ignore[misc, call-arg, unused-ignore]
    async for info in supervisor.sessions(prefix="user-", tags=None):
        assert_type(info, SessionInfo)
        assert_type(info.state, SessionState)
    await supervisor.delete_session("user-41")
    assert_type(await supervisor.delete_session("user-40", soft=True, reason="left"), bool)
    assert_type(await supervisor.restore_session("user-40"), bool)
    await supervisor.session("user-42", expire_after_seconds="never")
    await supervisor.session("user-42", expire_after_seconds="soon")  # type: ignore[arg-type]
    assert_type(await supervisor.run_once({"messages": []}), RunOutcome)


async def retention(supervisor: Supervisor) -> None:
    policy = RetentionPolicy(
        rules=[
            RetentionRule(states=["closed"], closed_for_seconds=30 * 86_400),
            RetentionRule(action="trim", events_keep_last=1_000),
        ],
        exempt_tags=["legal-hold"],
    )
    RetentionRule(action="archive", keep_newest=1)  # type: ignore[arg-type]
    report = await supervisor.apply_retention(policy, dry_run=True)
    assert_type(report, RetentionReport)
    assert_type(report.ids("delete"), tuple[str, ...])

    async def told(report: RetentionReport) -> None:
        assert_type(report.freed_bytes, int)

    open_supervisor(MemoryStore(), ProcessAgent(["cat"]), retention=policy, on_retention=told)
    async with open_maintenance(MemoryStore()) as maintenance:
        assert_type(await maintenance.apply_retention(policy), RetentionReport)


async def runs(session: Session) -> None:
    run = await session.submit(
        {"messages": [{"role": "user", "content": "hello"}]},
        key="msg-17",
        agent="chat",
        timeout_seconds=120,
        on_interrupt="requeue",
        attempts_max=2,
    )
    assert_type(run, Run)
    await session.submit(None, on_interrupt="retry")  # type: ignore[arg-type]
    outcome = await run.wait()
    assert_type(outcome, RunOutcome)
    assert_type(outcome.state, RunState)
    outcome.unwrap()
    outcome.output = None  # type: ignore[misc]
    if outcome.error is not None:
        assert_type(outcome.error.code, str)
        assert_type(outcome.error.retryable, bool)
    assert_type(await run.cancel(reason="user pressed stop"), bool)
    assert_type(await run.status(), RunState)
    assert_type(await session.wait(run.id, timeout_seconds=30), RunOutcome)
    assert_type(await session.execute({"messages": []}, key="msg-18"), RunOutcome)
    assert_type(await session.cancel(run.id), bool)
    assert_type(await session.answer(run.id, "approval", True), bool)
    assert_type(session.run(run.id), Run)


async def events(session: Session) -> None:
    async with session.subscribe(after=0, types={"message_streamed"}, run_id=None) as events:
        assert_type(events, Subscription)
        async for event in events:
            assert_type(event, Event)
            assert_type(event.seq, int)
            assert_type(event.run_id, str | None)
            event.seq = 1  # type: ignore[misc]
    async with session.subscribe(after="head", name="mailer") as events:
        async for batch in events.batches():
            assert_type(batch, list[Event])
            await events.ack(batch[-1])
    session.subscribe(after="tail")  # type: ignore[arg-type]
    page = await session.events(after=0, limit=100, wait_seconds=20)
    assert_type(page, list[Event])
    assert_type(await session.append("message_received", {"content": "hi"}), Event)
    assert_type(await session.trim(before=page[0].seq), int)
    assert_type(await session.cursor("mailer"), int | None)
    assert_type(await session.acknowledge("mailer", page[-1].seq), int)


async def managing(session: Session) -> None:
    assert_type(await session.status(), SessionStatus)
    assert_type(await session.info(), SessionInfo)
    await session.configure(slots=4)
    await session.pause()
    await session.resume()
    await session.wait_idle(timeout_seconds=30)
    assert_type(await session.drain(timeout_seconds=30, queued="finish"), DrainReport)
    await session.close(outcome="completed", reason="done", force=True)
    await session.reopen()


async def talking(session: Session) -> None:
    assert_type(await session.messages(after=0, limit=20), list[Message])
    assert_type(await session.context(), list[Message])
    assert_type((await session.transcript()).settings, dict[str, Any])
    assert_type(await session.add_messages([{"role": "user", "content": "hi"}]), list[Event])
    assert_type(await session.export_messages(), list[dict[str, Any]])
    assert_type(await session.label("here", seq=7, description="before the change"), Label)
    assert_type(await session.events_since_label("here"), list[Event])
    point = await session.checkpoint(metadata={"why": "tests pass"})
    assert_type(point, Checkpoint)
    await session.restore(point.checkpoint_id)
    await session.branch(7, summary="what was tried", name="other way")
    assert_type(await session.branches(), list[Branch])
    await session.clear()
    assert_type(await session.fork(seq=7), Session)
    assert_type(await session.rotate("what was said", session_id="next"), Session)


async def reading() -> None:
    async with open_reader(JournalStore("data")) as reader:
        session = reader.session("user-42")
        async with session.subscribe(after=0) as events:
            async for event in events:
                assert_type(event, Event)
        assert_type(await session.messages(), list[Message])
        await session.submit({})  # type: ignore[attr-defined]
        await session.clear()  # type: ignore[attr-defined]
        async for info in reader.sessions():
            assert_type(info, SessionInfo)
