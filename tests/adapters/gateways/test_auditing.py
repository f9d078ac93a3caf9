from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.gateways.auditing import (
    OF_A_RUN,
    OF_A_SESSION,
    OF_AN_APPROVAL,
    SESSION_ACTIONS,
    SUPERVISOR_ACTIONS,
    audited,
)
from moorage.adapters.sinks.telemetry import AuditFailed, AuditLog
from moorage.runtime import InvalidArgument, Session, SessionClosed, Supervisor, open_supervisor
from moorage.stores import MemoryStore

SESSION_READS = {
    *("branches", "checkpoints", "context", "cursor", "events", "events_since_label", "execute"),
    *("export_messages", "id", "info", "labels", "messages", "run", "run_state", "status"),
    *("subscribe", "transcript", "wait", "wait_idle"),
}
SUPERVISOR_READS = {
    *("deliver", "failure", "handle", "holder", "leases", "left", "limits", "note_blocked_loop"),
    *("nodes", "recover", "residents", "search_events", "search_runs", "search_sessions"),
    *("sessions", "statistics", "usage_summary", "wait_recovered"),
}
"""Neither of them changes anything for whoever asks; ``execute`` is to submit and to wait."""


async def agent(request, context):
    if request.input == "ask":
        return await context.park("approval:1")
    return request.input


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
async def supervisor():
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        yield supervisor


@pytest.fixture
async def audit(path):
    async with AuditLog(path) as audit:
        yield audit


def lines(path) -> list[tuple]:
    names = ("outcome", "actor", "action", "session_id", "run_id")
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [tuple(line.get(name) for name in names) for line in found]


def public(kind) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_whatever_changes_something_is_an_action() -> None:
    assert public(Session) - SESSION_READS == SESSION_ACTIONS
    assert public(Supervisor) - SUPERVISOR_READS == SUPERVISOR_ACTIONS
    assert OF_A_RUN | OF_AN_APPROVAL <= SESSION_ACTIONS
    assert OF_A_SESSION <= SUPERVISOR_ACTIONS


async def test_who_did_what_is_on_record(supervisor, audit, path) -> None:
    session = await audited(supervisor, audit, actor="ann").session("a")
    run = await session.submit({"text": "secret"})
    outcome = await run.wait()
    await run.cancel()
    await session.run(run.id).cancel()
    await session.info()
    await audited(supervisor, audit, actor="bob").delete_session(session_id="a")

    assert outcome.output == {"text": "secret"}
    assert lines(path) == [
        ("begun", "ann", "open_session", "a", None),
        ("done", "ann", "open_session", "a", None),
        ("begun", "ann", "submit", "a", None),
        ("done", "ann", "submit", "a", run.id),
        ("begun", "ann", "cancel", "a", run.id),
        ("done", "ann", "cancel", "a", run.id),
        ("begun", "ann", "cancel", "a", run.id),
        ("done", "ann", "cancel", "a", run.id),
        ("begun", "bob", "delete_session", "a", None),
        ("done", "bob", "delete_session", "a", None),
    ]
    assert "secret" not in path.read_text()


async def test_executing_is_on_record_as_submitting(supervisor, audit, path) -> None:
    session = audited(await supervisor.session("a"), audit, actor="ann")
    outcome = await session.execute("x")
    once = await audited(supervisor, audit, actor="ann").run_once("y")

    assert outcome.output == "x"
    assert [line[0::2] for line in lines(path)] == [
        ("begun", "submit", None),
        ("done", "submit", outcome.run_id),
        ("begun", "run_once", None),
        ("done", "run_once", once.run_id),
    ]


async def test_an_approval_is_on_record_with_its_run(supervisor, audit, path) -> None:
    session = audited(await supervisor.session("a"), audit, actor="ann", request_id="req-9")
    run = await session.submit("ask")
    while (await run.status()) != "waiting":
        await trio.lowlevel.checkpoint()
    assert await session.approve(f"{run.id}:1")
    with pytest.raises(ValueError, match="request id"):
        await session.deny("nonsense")
    await run.wait()

    assert lines(path)[2:] == [
        ("begun", "ann", "approve", "a", run.id),
        ("done", "ann", "approve", "a", run.id),
        ("begun", "ann", "deny", "a", None),
        ("refused", "ann", "deny", "a", None),
    ]
    assert path.read_text().count('"request_id": "req-9"') == 6


async def test_a_refusal_is_on_record_and_raised(supervisor, audit, path) -> None:
    session = audited(supervisor.handle("a"), audit, actor="ann")
    await supervisor.session("a")
    await session.close()
    with pytest.raises(SessionClosed):
        await session.submit("x")

    assert lines(path)[-1] == ("refused", "ann", "submit", "a", None)


async def test_what_cannot_be_recorded_is_not_done(supervisor, audit, path) -> None:
    session = await supervisor.session("a")
    path.unlink()
    path.mkdir()
    with pytest.raises(AuditFailed):
        await audited(session, audit, actor="ann").submit("x")

    assert not await session.events(types={"run_submitted"})


async def test_sessions_that_come_out_of_it_are_audited(supervisor, audit, path) -> None:
    audited_supervisor = audited(supervisor, audit, actor="ann")
    new = await audited_supervisor.session()
    await new.execute("x")
    other = await new.fork()
    await other.pause()

    assert lines(path)[1] == ("done", "ann", "open_session", new.id, None)
    assert ("done", "ann", "fork", new.id, None) in lines(path)
    assert f'"new_session_id": "{other.id}"' in path.read_text()
    assert lines(path)[-1] == ("done", "ann", "pause", other.id, None)
    assert audited_supervisor.handle("z").id == "z"
    assert audited_supervisor.statistics().sessions_resident == 2


def test_what_is_neither_a_session_nor_a_supervisor_is_refused(path) -> None:
    with pytest.raises(InvalidArgument, match="not 5"):
        audited(5, AuditLog(path), actor="ann")
