from __future__ import annotations

import json
import os

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits, TokenFile
from moorage.adapters.gateways.http.request_audit import (
    ALL_REFUSALS_BURST,
    REFUSALS_BURST,
    RequestAudit,
)
from moorage.adapters.gateways.http.routes import OPERATIONS
from moorage.adapters.sinks.telemetry import AuditLog
from structlog.testing import capture_logs

CHANGES = [operation for operation in OPERATIONS if operation.method not in ("GET", "HEAD")]
FULL = "/dev/full"
needs_a_full_disk = pytest.mark.skipif(not os.path.exists(FULL), reason=f"not here: no {FULL}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def target(operation) -> str:
    parts = {"session_id": "s", "run_id": "run_1", "request_id": "run_1:call_1"}
    path = operation.path
    for name in operation.path_parameters:
        path = path.replace(f"{{{name}}}", parts.get(name, "x"))
    return path


@pytest.mark.parametrize("operation", CHANGES, ids=lambda operation: operation.id)
@pytest.mark.parametrize("scopes", [("admin", "approve"), ("metrics",)], ids=["may", "may not"])
async def test_whoever_changes_something_is_on_record(serving, tmp_path, path, operation, scopes):
    file = TokenFile(tmp_path / "tokens.json")
    issued = file.issue("ann", scopes=scopes)
    async with AuditLog(path) as audit, serving(auth=file, audit=audit) as service:
        await service.supervisor.session("s")
        client = service.client.with_headers(authorization=f"Bearer {issued.token}")
        body = {} if operation.body is not None else None
        answer = await client(operation.method, target(operation), body)

    last = lines(path)[-1]
    assert (last["action"], last["actor"]) == (operation.id, "ann")
    assert last["client"] == f"token {issued.stored.id}"
    assert (last["status"], last["request_id"]) == (answer.status, answer.headers["x-request-id"])
    assert last["outcome"] == ("done" if answer.status < 400 else "refused")
    assert (answer.status == 403) == (scopes == ("metrics",))
    if answer.status >= 400:
        assert last["code"] == answer.code
    if "session_id" in operation.path_parameters:
        assert last["session_id"] == "s"
    if "webhook_id" in operation.path_parameters:
        assert last["webhook_id"] == "x"
    if {"run_id", "request_id"} & set(operation.path_parameters):
        assert last["run_id"] == "run_1"
    assert issued.token not in path.read_text()


async def test_a_submit_is_on_record_before_it_is_done_and_with_its_run(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        await service.supervisor.session("a")
        client = service.client.with_headers(x_request_id="mine-1")
        answer = await client("POST", "/v1/sessions/a/runs", {"input": {"secret": "words"}})

    begun, done = lines(path)
    assert (begun["action"], begun["outcome"], begun["session_id"]) == ("submit_run", "begun", "a")
    assert (done["id"], done["outcome"], done["status"]) == (begun["id"], "done", answer.status)
    assert done["run_id"] == answer.json()["run_id"]
    assert done["actor"] == done["client"] == "address 192.0.2.1"
    assert done["request_id"] == begun["request_id"] == "mine-1"
    assert "words" not in path.read_text()


async def test_a_session_that_gets_a_name_is_on_record_with_it(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        named = await service.client("POST", "/v1/sessions", {"id": "mine"})
        unnamed = await service.client("POST", "/v1/sessions", {})

    first, _, third, fourth = lines(path)
    assert first["session_id"] == "mine" == named.json()["id"]
    assert "session_id" not in third
    assert fourth["session_id"] == unnamed.json()["id"]


async def test_a_fork_is_on_record_with_both_sessions(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        await service.supervisor.session("a")
        forked = await service.client("POST", "/v1/sessions/a/forks", {"session_id": "b"})

    assert forked.status == 201
    assert [line["session_id"] for line in lines(path)] == ["a", "a"]
    assert [line.get("new_session_id") for line in lines(path)] == [None, "b"]


async def test_what_the_session_refuses_is_on_record_with_its_code(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        answer = await service.client("POST", "/v1/sessions/nobody/pause")

    _, refused = lines(path)
    assert (refused["outcome"], refused["status"]) == ("refused", answer.status)
    assert refused["code"] == "unknown_session"


async def test_so_is_a_page_of_another_origin(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        await service.client("POST", "/v1/sessions", headers={"origin": "https://evil.example"})

    (refused,) = lines(path)
    assert (refused["code"], refused["status"]) == ("origin_refused", 403)


async def test_a_page_of_another_origin_uses_up_no_lines_of_those_who_belong_here(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        service.app.state.audit = RequestAudit(audit, lambda: 0.0, clients_max=10)
        for _ in range(REFUSALS_BURST + 1):
            await service.client("POST", "/v1/sessions", headers={"origin": "https://evil.example"})
        await service.client("POST", "/v1/sessions", {"nothing": 1})

    codes = [line["code"] for line in lines(path)]
    assert codes == ["origin_refused"] * REFUSALS_BURST + ["invalid_request"]


async def test_reading_is_not_on_record(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        for place in ("/v1/sessions", "/v1/statistics", "/healthz", "/nothing"):
            await service.client("GET", place)

    assert lines(path) == []


async def test_one_that_only_gets_refusals_fills_no_disk(serving, tmp_path, path):
    file = TokenFile(tmp_path / "tokens.json")
    file.issue("ann")
    async with AuditLog(path) as audit, serving(auth=file, audit=audit) as service:
        service.app.state.audit = RequestAudit(audit, lambda: 0.0, clients_max=10)
        for _ in range(REFUSALS_BURST + 10):
            answer = await service.client("POST", "/v1/sessions/a/pause")
            assert answer.status == 401
        service.client.address = "192.0.2.2"
        await service.client("POST", "/v1/sessions/a/pause")

    told = lines(path)
    assert len(told) == REFUSALS_BURST + 1
    assert [line.get("omitted", 0) for line in told] == [0] * REFUSALS_BURST + [10]
    assert {line["code"] for line in told} == {"unauthenticated"}
    assert told[-1]["actor"] == "address 192.0.2.2"


async def test_neither_do_many_and_those_who_ask_too_often(serving, path):
    limits = HttpLimits(requests_per_second_max=0.001, requests_burst_max=1)
    async with AuditLog(path) as audit, serving(limits=limits, audit=audit) as service:
        service.app.state.audit = RequestAudit(audit, lambda: 0.0, clients_max=10)
        for number in range(ALL_REFUSALS_BURST + 5):
            service.client.address = f"address {number}"
            await service.client("GET", "/v1/sessions")
            refused = await service.client("POST", "/v1/sessions/a/pause")
            assert refused.status == 429

    assert len(lines(path)) == ALL_REFUSALS_BURST
    assert {line["code"] for line in lines(path)} == {"too_many_requests"}


@needs_a_full_disk
async def test_on_a_full_disk_nothing_is_changed_and_reading_goes_on(serving):
    async with AuditLog(FULL) as audit, serving(audit=audit) as service:
        opened = await service.client("POST", "/v1/sessions", {"id": "a"})
        read = await service.client("GET", "/v1/sessions")
        with capture_logs() as logged:
            unread = await service.client("POST", "/v1/sessions", {"id": 7})

    assert (opened.status, opened.code) == (503, "audit_failed")
    assert opened.json()["retryable"] is True
    assert "retry-after" in opened.headers
    assert (read.status, read.json()["sessions"]) == (200, [])
    assert (unread.status, unread.code) == (422, "invalid_request")
    assert [entry["event"] for entry in logged] == ["audit_failed"]


@needs_a_full_disk
async def test_where_the_log_is_not_required_changes_go_on(serving):
    async with AuditLog(FULL, required=False) as audit, serving(audit=audit) as service:
        with capture_logs() as logged:
            opened = await service.client("POST", "/v1/sessions", {"id": "a"})

    assert opened.status == 200
    assert [entry["event"] for entry in logged] == ["audit_failed"] * 2


@needs_a_full_disk
async def test_where_the_log_lies_is_told_to_an_admin_only(serving, tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    tokens = [file.issue("a", scopes=[scope]).token for scope in ("write", "admin")]
    async with AuditLog(FULL) as audit, serving(auth=file, audit=audit) as service:
        details = [
            (
                await service.client.with_headers(authorization=f"Bearer {token}")(
                    "POST", "/v1/sessions"
                )
            ).json()["detail"]
            for token in tokens
        ]

    assert [FULL in detail for detail in details] == [False, True]


async def test_what_is_cut_off_is_on_record_as_cancelled(serving, path):
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        await service.supervisor.session("a")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def wait():
                    await service.client(
                        "POST", "/v1/sessions/a/runs?wait_seconds=60", {"input": "wait"}
                    )

                nursery.start_soon(wait)
                while not service.app.state.streams:
                    await trio.lowlevel.checkpoint()
                scope.cancel()

    begun, ended = lines(path)
    assert (ended["id"], ended["outcome"]) == (begun["id"], "cancelled")
    assert ended["run_id"].startswith("run_")


async def test_a_defect_is_on_record_as_failed(serving, path, monkeypatch):
    async with AuditLog(path) as audit, serving(audit=audit) as service:

        def broken(session_id):
            raise ZeroDivisionError

        monkeypatch.setattr(service.supervisor, "handle", broken)
        with capture_logs():
            answer = await service.client("POST", "/v1/sessions/a/pause")

    assert answer.status == 500
    assert (lines(path)[1]["outcome"], lines(path)[1]["code"]) == ("failed", "ZeroDivisionError")
