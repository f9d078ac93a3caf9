from __future__ import annotations

import errno
import json
import os
import threading

import pytest
import trio
import trio.testing
from moorage.adapters.sinks.telemetry import AuditFailed, AuditLog, audit_log
from moorage.adapters.sinks.telemetry.audit_log import LINE_BYTES_MAX
from moorage.runtime import InvalidArgument, SessionClosed, StoreFailed
from structlog.testing import capture_logs


def time_ns() -> int:
    return 1_700_000_000_123_456_789


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_an_action_is_on_record_before_and_after(path) -> None:
    async with (
        AuditLog(path, time_ns=time_ns) as audit,
        audit.action("submit", actor="ann", session_id="s", request_id="q") as action,
    ):
        (begun,) = lines(path)
        action.run_id = "r"

    _, done = lines(path)
    assert begun == {
        "time": "2023-11-14T22:13:20.123456Z",
        "id": begun["id"],
        "outcome": "begun",
        "action": "submit",
        "actor": "ann",
        "session_id": "s",
        "request_id": "q",
    }
    assert done == begun | {"outcome": "done", "run_id": "r"}


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (SessionClosed("s"), "refused", "session_closed"),
        (StoreFailed("x", written=None), "failed", "store_failed"),
        (ValueError("secret"), "failed", "ValueError"),
    ],
)
async def test_what_was_raised_is_on_record_by_its_code(path, error, outcome, code) -> None:
    async with AuditLog(path) as audit:
        with pytest.raises(type(error)):
            async with audit.action("submit", actor="ann"):
                raise error

    assert (lines(path)[1]["outcome"], lines(path)[1]["code"]) == (outcome, code)
    assert "secret" not in path.read_text()


async def test_a_cancelled_action_is_on_record_as_such(path) -> None:
    async with AuditLog(path) as audit:
        with trio.CancelScope() as scope:
            async with audit.action("submit", actor="ann"):
                scope.cancel()
                await trio.sleep_forever()

    assert [line["outcome"] for line in lines(path)] == ["begun", "cancelled"]


async def test_so_is_one_that_was_cancelled_in_a_nursery(path) -> None:
    async with AuditLog(path) as audit:
        with trio.CancelScope() as scope:
            async with audit.action("submit", actor="ann"), trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()

    assert [line["outcome"] for line in lines(path)] == ["begun", "cancelled"]


async def test_what_a_gateway_knows_is_on_record(path) -> None:
    async with AuditLog(path) as audit:
        async with audit.action("submit", actor="ann", client="token 1") as action:
            action.status = 202
        await audit.record(
            "submit", actor="ann", outcome="refused", client="token 1", status=403, omitted=7
        )

    begun, done, refused = lines(path)
    assert (begun["client"], begun.get("status")) == ("token 1", None)
    assert (done["client"], done["status"]) == ("token 1", 202)
    assert (refused["status"], refused["omitted"]) == (403, 7)


async def test_what_cannot_be_recorded_is_not_done(path) -> None:
    done = []
    async with AuditLog(path) as audit:
        path.unlink()
        path.mkdir()
        with pytest.raises(AuditFailed, match="cannot be written") as caught:
            async with audit.action("submit", actor="ann"):
                done.append("submit")
        with pytest.raises(AuditFailed):
            await audit.record("login", actor="ann")
        path.rmdir()
        async with audit.action("submit", actor="ann"):
            done.append("again")

    assert done == ["again"]
    assert caught.value.retryable
    assert len(lines(path)) == 2


async def test_what_is_not_required_goes_on_without(path) -> None:
    done = []
    path.mkdir()
    with capture_logs() as logs:
        async with (
            AuditLog(path, required=False) as audit,
            audit.action("submit", actor="ann"),
        ):
            done.append("submit")

    assert done == ["submit"]
    assert {log["event"] for log in logs} == {"audit_failed"}


async def test_an_end_that_cannot_be_recorded_is_logged_and_no_refusal(path) -> None:
    async with AuditLog(path) as audit:
        with capture_logs() as logs:
            async with audit.action("submit", actor="ann"):
                path.unlink()
                path.mkdir()

    (log,) = logs
    assert (log["event"], log["outcome"], log["action"]) == ("audit_failed", "done", "submit")


async def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path) -> None:
    with pytest.raises(AuditFailed, match="none"):
        async with AuditLog(tmp_path / "none" / "audit.jsonl"):
            pytest.fail("entered")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "make its folder, and try again"),
        (errno.ENOTDIR, "make its folder, and try again"),
        (errno.EACCES, "let this user write there, and try again"),
        (errno.ENOSPC, "make room, and try again"),
        (errno.EIO, "restore the file's folder and permissions, or make room, and try again"),
    ],
)
async def test_what_helps_is_told_and_the_file_is_named_once(
    path, monkeypatch, number, remedy
) -> None:
    def fail(text):
        raise OSError(number, os.strerror(number), str(path))

    audit = AuditLog(path)
    monkeypatch.setattr(audit._file, "append", fail)
    with pytest.raises(AuditFailed) as caught:
        await audit.__aenter__()

    why = os.strerror(number)
    assert str(caught.value) == f"the audit log {path} cannot be written ({why}): {remedy}"


async def test_a_log_that_is_not_open_refuses(path) -> None:
    audit = AuditLog(path)
    with pytest.raises(AuditFailed, match="not open"):
        await audit.record("login", actor="ann")
    async with audit:
        pass
    with pytest.raises(AuditFailed, match="not open"):
        await audit.record("login", actor="ann")


async def test_lines_are_bounded_and_nothing_breaks_out_of_one(path) -> None:
    odd = "\n\u2028\U0001f600" * 1_000
    longest_id = "\x1f" * 256
    async with AuditLog(path) as audit:
        async with audit.action(odd, actor=odd, session_id=longest_id, run_id=longest_id) as all:
            all.request_id = all.client = odd
            all.status, all.new_session_id, all.webhook_id = 500, longest_id, odd
        longest = path.read_bytes().splitlines()[-1]
        await audit.record(
            odd,
            actor=odd,
            code=odd,
            request_id=odd,
            client=odd,
            status=500,
            omitted=2**31,
            session_id=longest_id,
            run_id=longest_id,
        )
        await audit.record("login", actor="\ud800")

    *_, first, second = path.read_bytes().splitlines()
    assert len(first) < LINE_BYTES_MAX
    assert len(longest) < LINE_BYTES_MAX
    assert json.loads(longest)["new_session_id"] == longest_id
    assert json.loads(first)["session_id"] == longest_id
    assert odd.startswith(json.loads(first)["actor"])
    assert json.loads(second)["actor"] == "\ud800"


@pytest.mark.parametrize("actor", ["", None, 5])
async def test_an_actor_that_is_none_is_refused(path, actor) -> None:
    async with AuditLog(path) as audit:
        with pytest.raises(InvalidArgument, match="actor"):
            await audit.record("login", actor=actor)

    assert lines(path) == []


async def test_many_at_once_share_a_sync_and_all_are_there(path, monkeypatch) -> None:
    syncs = []
    real_sync = os.fsync
    async with AuditLog(path) as audit:
        monkeypatch.setattr(os, "fsync", lambda file: syncs.append(real_sync(file)))
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(lambda n=number: audit.record("x", actor=str(n)))

    assert {line["actor"] for line in lines(path)} == {str(number) for number in range(50)}
    assert len(lines(path)) == 50
    assert len(syncs) < 10


async def test_those_that_wait_for_the_disk_are_bounded_and_may_leave(path, monkeypatch) -> None:
    monkeypatch.setattr(audit_log, "LINES_WAITING_MAX", 1)
    busy, free = threading.Event(), threading.Event()
    real_sync = os.fsync

    def slow(file) -> None:
        busy.set()
        free.wait()
        real_sync(file)

    async with AuditLog(path) as audit, trio.open_nursery() as nursery:
        monkeypatch.setattr(os, "fsync", slow)
        nursery.start_soon(lambda: audit.record("x", actor="first"))
        await trio.to_thread.run_sync(busy.wait)
        try:
            with trio.CancelScope() as scope:
                scope.cancel()
                await audit.record("x", actor="left")
            nursery.start_soon(lambda: audit.record("x", actor="second"))
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(60), pytest.raises(AuditFailed, match="wait for the disk"):
                await audit.record("x", actor="third")
        finally:
            free.set()

    assert [line["actor"] for line in lines(path)] == ["first", "second"]
