"""The public names and signatures: programs of other people rely on them.

A change here is a change for users. Make it on purpose: put it into CHANGELOG.md, keep the old
spelling working for a version where that can be done, and only then change the tables.
"""

from __future__ import annotations

import importlib
import inspect
import tomllib
from typing import Any

import attrs
import pytest
from moorage.runtime.limits import SupervisorLimits

from tests.rules.source_tree import PRODUCT, ROOT

NAMES = {
    "moorage.runtime": (
        "open_supervisor Supervisor SupervisorLimits Session SessionInfo SessionState "
        "SessionStatus Run RunRequest RunContext RunContextWrapper RunState RunOutcome Event "
        "Subscription DrainReport MoorageError InvalidArgument QueueFull BufferFull "
        "RecordTooLarge KeyConflict "
        "AdmissionClosed SessionClosed SessionExists SessionHeld SessionQuarantined "
        "UnknownSession UnknownRun RunFailed RunCancelled RunTimedOut RunInterrupted "
        "CursorExpired CursorHeld StaleOwner StoreFailed CorruptLog MigrationRequired open_reader "
        "WrongProcess "
        "InvalidCursor SessionPage RunPage RunSummary EventPage UsageSummary UsageRow"
    ),
    "moorage.stores": (
        "MemoryStore JournalStore SqliteStore PostgresStore RedisStore JsonlStore "
        "SnapshotOnlyStore Durability"
    ),
    "moorage.adapters.agents": "ProcessAgent ScriptedAgent",
}

SIGNATURES: dict[str, str] = {
    "runtime.open_supervisor": (
        "store, agent, *, limits=None, node_tags=None, time_ns=..., retention=None, "
        "retention_interval_seconds=3600.0, on_retention=None"
    ),
    "runtime.open_reader": "store",
    "runtime.current_run": "",
    "runtime.current_session": "",
    "runtime.overriding": "**settings",
    "runtime.current_overrides": "",
    "runtime.open_maintenance": "store, *, purpose='maintenance', limits=None, time_ns=...",
    "runtime.plan_retention": "policy, sessions, now_ns, *, sizes=None",
    "runtime.retention_policy": "data",
    "runtime.Supervisor.session": (
        "id=None, *, mode='open_or_create', slots=None, tags=None, metadata=None, summary=None, "
        "expire_after_seconds=None, include_deleted=False, node_tags=None"
    ),
    "runtime.Supervisor.sessions": "*, prefix='', tags=None, include_deleted=False",
    "runtime.Supervisor.delete_session": (
        "session_id, *, soft=False, reason=None, expected_seq=None"
    ),
    "runtime.Supervisor.restore_session": "session_id",
    "runtime.Supervisor.apply_retention": "policy, *, dry_run=False",
    "runtime.Supervisor.unquarantine": "session_id",
    "runtime.Supervisor.run_once": "input, *, tags=None, metadata=None, node_tags=None, **options",
    "runtime.Supervisor.nodes": "",
    "runtime.Supervisor.holder": "session_id",
    "runtime.Supervisor.drain": "*, timeout_seconds=None, queued='keep'",
    "runtime.Supervisor.statistics": "",
    "runtime.Session.run": "run_id",
    "runtime.Session.submit": (
        "input, *, key=None, agent=None, metadata=None, on_interrupt='fail', attempts_max=3, "
        "timeout_seconds=None, queue_seconds_max=None, silence_seconds_max=None"
    ),
    "runtime.Session.execute": "input, *, wait_seconds=None, **options",
    "runtime.Session.wait": "run_id, *, timeout_seconds=None",
    "runtime.Session.cancel": "run_id, *, reason=None",
    "runtime.Session.answer": "run_id, name, value",
    "runtime.Session.append": "type, data, *, metadata=None",
    "runtime.Session.status": "",
    "runtime.Session.info": "",
    "runtime.Session.events": (
        "*, after=0, before=None, limit=100, types=None, run_id=None, wait_seconds=0"
    ),
    "runtime.Session.subscribe": "*, after=0, types=None, run_id=None, name=None",
    "runtime.Session.cursor": "name",
    "runtime.Session.acknowledge": "name, seq",
    "runtime.Session.configure": (
        "*, slots=None, tags=None, metadata=None, summary=None, metadata_update=None, "
        "expire_after_seconds=None, node_tags=None"
    ),
    "runtime.Session.approve": "request_id, *, tool_input=None, reason=None, by=None",
    "runtime.Session.deny": "request_id, *, reason=None, by=None",
    "runtime.Session.steer": "run_id, message, *, key=None",
    "runtime.Session.append_many": "events, *, expected_seq=None",
    "runtime.Session.add_messages": "messages",
    "runtime.Session.transcript": "",
    "runtime.Session.messages": "*, after=0, limit=None",
    "runtime.Session.context": "",
    "runtime.Session.export_messages": "",
    "runtime.Session.label": "label, *, seq=None, description=None",
    "runtime.Session.unlabel": "label",
    "runtime.Session.labels": "",
    "runtime.Session.events_since_label": "label, *, limit=100, types=None",
    "runtime.Session.checkpoint": "*, metadata=None, label=None",
    "runtime.Session.checkpoints": "",
    "runtime.Session.restore": "checkpoint_id",
    "runtime.Session.branch": "seq, *, summary=None, name=None",
    "runtime.Session.branches": "",
    "runtime.Session.clear": "",
    "runtime.Session.fork": "session_id=None, *, seq=None",
    "runtime.Session.rotate": "summary, *, session_id=None",
    "runtime.Session.pause": "",
    "runtime.Session.resume": "",
    "runtime.Session.wait_idle": "*, timeout_seconds=None",
    "runtime.Session.drain": "*, timeout_seconds=None, queued='keep'",
    "runtime.Session.close": "*, outcome='completed', reason=None, force=False",
    "runtime.Session.reopen": "",
    "runtime.Session.trim": "*, before",
    "runtime.Run.wait": "*, timeout_seconds=None",
    "runtime.Run.cancel": "*, reason=None",
    "runtime.Run.steer": "message, *, key=None",
    "runtime.Run.status": "",
    "runtime.RunOutcome.unwrap": "",
    "runtime.Subscription.ack": "event",
    "runtime.Subscription.batches": "",
    "runtime.RunContext.emit": "type, data, *, time_ns=None, metadata=None",
    "runtime.RunContext.emit_nowait": "type, data, *, time_ns=None, metadata=None",
    "runtime.RunContext.flush": "",
    "runtime.RunContext.park": "name, data=None, *, timeout_seconds=None, default=None",
    "runtime.RunContext.ask": "name, data=None, *, timeout_seconds=None, default=None",
    "runtime.RunContext.accept_steers": "",
    "runtime.RunContext.take_steers": "",
    "runtime.RunContext.wait_steer": "",
    "runtime.Reader.session": "session_id",
    "runtime.Reader.preview_retention": "policy, *, time_ns=...",
    "runtime.Reader.sessions": "*, prefix='', tags=None, include_deleted=False",
    "runtime.Reader.search_sessions": (
        "*, prefix='', tags=None, states=None, text=None, created_after_ns=None, "
        "created_before_ns=None, modified_after_ns=None, modified_before_ns=None, "
        "include_deleted=False, order='modified', descending=True, limit=100, cursor=None"
    ),
    "runtime.Reader.search_runs": (
        "*, session_id=None, prefix='', tags=None, states=None, agent=None, key=None, text=None, "
        "submitted_after_ns=None, submitted_before_ns=None, ended_after_ns=None, "
        "ended_before_ns=None, order='submitted', descending=True, limit=100, cursor=None"
    ),
    "runtime.Reader.search_events": (
        "*, session_id=None, prefix='', tags=None, types=None, run_id=None, text=None, "
        "after_ns=None, before_ns=None, descending=False, limit=100, cursor=None"
    ),
    "runtime.Reader.usage_summary": (
        "*, by='session', session_id=None, prefix='', tags=None, states=None, agent=None, "
        "submitted_after_ns=None, submitted_before_ns=None, ended_after_ns=None, "
        "ended_before_ns=None"
    ),
    "runtime.Reader.nodes": "",
    "runtime.Reader.holder": "session_id",
    "runtime.Reader.unserved": "*, limit=100",
    "stores.MemoryStore": "*, lease_seconds=None",
    "stores.JournalStore": (
        "path, *, durability=<Durability.COMMIT: 'commit'>, segment_bytes=67108864, disk=None"
    ),
    "stores.RedisStore": (
        "url, *, password=None, database=0, connections_max=32, key_prefix='moorage:', "
        "session_ttl_seconds=None, lease_seconds=10.0, answer_seconds=5.0, eviction_allowed=False"
    ),
    "stores.SnapshotOnlyStore": "snapshots",
    "stores.JsonlStore": (
        "directory, *, durability=<Durability.COMMIT: 'commit'>, commit_log_bytes=33554432, "
        "disk=None"
    ),
    "adapters.agents.ProcessAgent": (
        "command, *, shell=False, cwd=None, environment=None, environment_policy='extend', "
        "encode_input=None, lines='text', event_types=..., line_bytes_max=65536, "
        "output_bytes_max=67108864, output_overflow='fail', content_bytes_max=1048576, "
        "stderr_bytes_max=16384, exit_codes_ok=..., terminate_grace_seconds=2.0, "
        "pipe_grace_seconds=1.0"
    ),
    "adapters.agents.ScriptedAgent": "script=...",
}
"""Parameters of every public call; a default that is not a plain value is written as dots."""

FIELDS = {
    "RunRequest": ("input session_id run_id agent attempt key answers metadata submitted_at_ns"),
    "RunOutcome": (
        "run_id session_id state output error usage attempt submitted_at_ns started_at_ns "
        "ended_at_ns"
    ),
    "Message": "role blocks seq run_id time_ns partial original",
    "Label": "label seq description time_ns",
    "Checkpoint": "checkpoint_id seq checksum metadata label time_ns",
    "Branch": "name from_seq first_seq last_seq active",
    "RunProblem": "code message type retryable details",
    "SessionStatus": (
        "session_id state head_seq slots running queued waiting runs_queued_max draining "
        "cancelling unresponsive"
    ),
    "SessionInfo": (
        "id state tags metadata created_at_ns modified_at_ns head_seq runs summary slots outcome "
        "reason timed_waits closed_at_ns deleted_at_ns expire_after_seconds node_tags agents"
    ),
    "NodeInfo": "id owner opened_at lease_seconds_left sessions state",
    "NodeState": "offer sessions_max runs_max sessions_busy runs_running draining",
    "SessionHolder": "node_id owner epoch lease_seconds_left",
    "UnheldSession": "session_id demands",
    "SteerOutcome": "steer_id run_id steered",
    "SessionPage": "items next_cursor",
    "RunPage": "items next_cursor",
    "EventPage": "items next_cursor scanned",
    "RunSummary": (
        "session_id run_id seq state agent model key attempt submitted_at_ns started_at_ns "
        "ended_at_ns usage error_code error_message"
    ),
    "UsageSummary": "by rows total",
    "UsageRow": (
        "group runs runs_started runs_without_usage runs_without_cost input_tokens output_tokens "
        "cache_read_tokens cache_write_tokens reasoning_tokens cost_usd queue_seconds run_seconds"
    ),
    "DrainReport": "completed interrupted requeued queued not_stopped",
    "RetentionRule": (
        "action name prefix tags states older_than_seconds closed_for_seconds keep_newest "
        "bytes_max group_by_tag group_by_prefix_until events_older_than_seconds events_keep_last"
    ),
    "RetentionPolicy": "rules exempt_tags on_expiry purge_after_seconds",
    "RetentionReport": "dry_run sessions entries spared problems",
    "RetentionEntry": "session_id action reason bytes events",
    "Event": "session_id seq time_ns type run_id data metadata version",
}

LIMITS = (
    "runs_queued_max runs_running_max sessions_resident_max idle_seconds record_bytes_max "
    "queue_bytes_max tail_cache_bytes_max emit_ahead_bytes_max drain_seconds cancel_grace_seconds"
)

STATES = {
    "RunState": (
        "queued running waiting cancelling completed failed cancelled timed_out interrupted"
    ),
    "SessionState": "open paused closed quarantined",
}

CODES = {
    "MoorageError": "moorage_error",
    "InvalidArgument": "invalid_argument",
    "InvalidCursor": "invalid_cursor",
    "QueueFull": "queue_full",
    "BufferFull": "buffer_full",
    "RecordTooLarge": "record_too_large",
    "KeyConflict": "key_conflict",
    "AdmissionClosed": "admission_closed",
    "SessionClosed": "session_closed",
    "SessionDeleted": "session_deleted",
    "SessionChanged": "session_changed",
    "SessionExists": "session_exists",
    "SessionHeld": "session_held",
    "SessionQuarantined": "session_quarantined",
    "UnknownSession": "unknown_session",
    "UnknownRun": "unknown_run",
    "UnknownCheckpoint": "unknown_checkpoint",
    "CheckpointMismatch": "checkpoint_mismatch",
    "RunFailed": "run_failed",
    "RunCancelled": "run_cancelled",
    "RunTimedOut": "run_timed_out",
    "RunInterrupted": "run_interrupted",
    "CursorExpired": "cursor_expired",
    "CursorHeld": "cursor_held",
    "StaleOwner": "stale_owner",
    "WrongProcess": "wrong_process",
    "StoreFailed": "store_failed",
    "MigrationRequired": "migration_required",
    "CorruptLog": "corrupt_log",
}


def public(name: str) -> Any:
    return getattr(importlib.import_module("moorage.runtime"), name)


def resolve(path: str) -> Any:
    """``runtime.Session.submit`` -> the function."""
    package, _, name = path.rpartition(".")
    while True:
        try:
            found: Any = importlib.import_module(f"moorage.{package}")
        except ModuleNotFoundError:
            package, _, first = package.rpartition(".")
            name = f"{first}.{name}"
        else:
            for part in name.split("."):
                found = getattr(found, part)
            return found


def parameters(call: Any) -> str:
    words: list[str] = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.kind is parameter.VAR_KEYWORD:
            words.append(f"**{parameter.name}")
        elif parameter.default is parameter.empty:
            words.append(parameter.name)
        elif isinstance(parameter.default, bool | int | float | str | None):
            words.append(f"{parameter.name}={parameter.default!r}")
        else:
            words.append(f"{parameter.name}=...")
    return ", ".join(words)


@pytest.mark.parametrize("package", NAMES)
def test_names_are_importable_and_listed(package: str) -> None:
    module = importlib.import_module(package)

    missing = [name for name in NAMES[package].split() if not hasattr(module, name)]
    unlisted = [name for name in NAMES[package].split() if name not in module.__all__]

    assert not missing, f"export from {package}: {missing}"
    assert not unlisted, f"add to {package}.__all__: {unlisted}"


@pytest.mark.parametrize("package", NAMES)
def test_all_lists_what_is_there_once(package: str) -> None:
    module = importlib.import_module(package)

    gone = [name for name in module.__all__ if not hasattr(module, name)]

    assert not gone, f"{package}.__all__ lists what is not there: {gone}"
    assert len(set(module.__all__)) == len(module.__all__), f"{package}.__all__ repeats a name"


@pytest.mark.parametrize("path", SIGNATURES)
def test_signatures_are_as_recorded(path: str) -> None:
    assert SIGNATURES[path] == parameters(resolve(path)), f"{path} changed: see this file's head"


@pytest.mark.parametrize("name", FIELDS)
def test_values_have_the_recorded_fields(name: str) -> None:
    assert FIELDS[name].split() == [field.name for field in attrs.fields(public(name))]


@pytest.mark.parametrize("name", STATES)
def test_states_are_string_enums_of_the_recorded_words(name: str) -> None:
    assert STATES[name].split() == [str(state) for state in public(name)]
    assert issubclass(public(name), str)


@pytest.mark.parametrize("name", CODES)
def test_errors_keep_their_machine_readable_codes(name: str) -> None:
    assert CODES[name] == public(name).code
    assert issubclass(public(name), public("MoorageError"))
    assert type(public(name).retryable) is bool


def test_every_error_has_a_code_of_its_own() -> None:
    module = importlib.import_module("moorage.runtime.errors")
    errors: list[Any] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, module.MoorageError)
    ]

    codes = [error.code for error in errors]

    assert sorted(set(codes)) == sorted(codes)


def test_bad_arguments_are_value_errors_too() -> None:
    assert issubclass(public("InvalidArgument"), ValueError)


def test_limits_have_the_promised_names() -> None:
    there = {field.name for field in attrs.fields(SupervisorLimits)}

    assert not set(LIMITS.split()) - there


def test_run_and_session_tell_their_identity() -> None:
    session, run, context = public("Session"), public("Run"), public("RunContext")

    assert isinstance(session.id, property)
    assert isinstance(run.session_id, property)
    assert {"id", "key"} <= set(run.__slots__)
    assert all(
        isinstance(getattr(context, name), property)
        for name in ("session_id", "run_id", "attempt", "metadata")
    )


def test_every_package_of_the_product_is_in_the_wheel() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    there = {
        "moorage." + path.parent.relative_to(ROOT).as_posix().replace("/", "."): path.parent
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("__init__.py")
    }

    assert sorted(there) == sorted(setuptools["packages"]), "list it under packages"
    assert {name: path.relative_to(ROOT).as_posix() for name, path in there.items()} == setuptools[
        "package-dir"
    ], "map it under package-dir"
