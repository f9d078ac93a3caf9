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
        "SessionStatus Run RunRequest RunContext RunState RunOutcome Event Subscription "
        "DrainReport MoorageError InvalidArgument QueueFull BufferFull RecordTooLarge KeyConflict "
        "AdmissionClosed SessionClosed SessionExists SessionHeld SessionQuarantined "
        "UnknownSession UnknownRun RunFailed RunCancelled RunTimedOut RunInterrupted "
        "CursorExpired CursorHeld StaleOwner StoreFailed CorruptLog open_reader"
    ),
    "moorage.stores": "MemoryStore JournalStore Durability",
    "moorage.adapters.agents": "ProcessAgent ScriptedAgent",
}

SIGNATURES: dict[str, str] = {
    "runtime.open_supervisor": "store, agent, *, limits=None, time_ns=...",
    "runtime.open_reader": "store",
    "runtime.Supervisor.session": (
        "id=None, *, mode='open_or_create', slots=None, tags=None, metadata=None, summary=None"
    ),
    "runtime.Supervisor.sessions": "*, prefix='', tags=None",
    "runtime.Supervisor.delete_session": "session_id",
    "runtime.Supervisor.unquarantine": "session_id",
    "runtime.Supervisor.run_once": "input, *, tags=None, metadata=None, **options",
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
    "runtime.Session.configure": "*, slots=None, tags=None, metadata=None, summary=None",
    "runtime.Session.pause": "",
    "runtime.Session.resume": "",
    "runtime.Session.wait_idle": "*, timeout_seconds=None",
    "runtime.Session.drain": "*, timeout_seconds=None, queued='keep'",
    "runtime.Session.close": "*, outcome='completed', reason=None, force=False",
    "runtime.Session.reopen": "",
    "runtime.Session.trim": "*, before",
    "runtime.Run.wait": "*, timeout_seconds=None",
    "runtime.Run.cancel": "*, reason=None",
    "runtime.Run.status": "",
    "runtime.RunOutcome.unwrap": "",
    "runtime.Subscription.ack": "event",
    "runtime.Subscription.batches": "",
    "runtime.RunContext.emit": "type, data, *, time_ns=None, metadata=None",
    "runtime.RunContext.emit_nowait": "type, data, *, time_ns=None, metadata=None",
    "runtime.RunContext.flush": "",
    "runtime.RunContext.park": "name, data=None",
    "runtime.Reader.session": "session_id",
    "runtime.Reader.sessions": "*, prefix='', tags=None",
    "stores.MemoryStore": "*, lease_seconds=None",
    "stores.JournalStore": (
        "path, *, durability=<Durability.COMMIT: 'commit'>, segment_bytes=67108864, disk=None"
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
    "RunProblem": "code message type retryable details",
    "SessionStatus": (
        "session_id state head_seq slots running queued waiting runs_queued_max draining "
        "cancelling unresponsive"
    ),
    "SessionInfo": (
        "id state tags metadata created_at_ns modified_at_ns head_seq runs summary slots outcome "
        "reason"
    ),
    "DrainReport": "completed interrupted requeued queued not_stopped",
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
    "QueueFull": "queue_full",
    "BufferFull": "buffer_full",
    "RecordTooLarge": "record_too_large",
    "KeyConflict": "key_conflict",
    "AdmissionClosed": "admission_closed",
    "SessionClosed": "session_closed",
    "SessionExists": "session_exists",
    "SessionHeld": "session_held",
    "SessionQuarantined": "session_quarantined",
    "UnknownSession": "unknown_session",
    "UnknownRun": "unknown_run",
    "RunFailed": "run_failed",
    "RunCancelled": "run_cancelled",
    "RunTimedOut": "run_timed_out",
    "RunInterrupted": "run_interrupted",
    "CursorExpired": "cursor_expired",
    "CursorHeld": "cursor_held",
    "StaleOwner": "stale_owner",
    "StoreFailed": "store_failed",
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
