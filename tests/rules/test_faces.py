"""The faces for asyncio and for threads have everything that the runtime's classes have.

Something new on a class of the runtime is forgotten here only on purpose: cross it in the face, or
put it into NOT_CROSSED with a reason.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from moorage import runtime
from moorage.adapters.gateways import asyncio_host, sync_host
from moorage.runtime import agents

NOT_CROSSED = {
    "Supervisor.deliver": "the owner's door: stores call it",
    "Supervisor.recover": "the supervisor's own background",
    "Supervisor.note_blocked_loop": "the watchdog calls it",
}
AWAITED = {
    "Supervisor.statistics": "counts what lives in trio's thread",
    "Reader.statistics": "asks the store, which lives in trio's thread",
    "RunContext.take_steers": "takes from what lives in trio's thread",
}
"""Synchronous in the runtime, awaited in asyncio, and why."""

NATIVE: dict[str, Any] = {
    "Supervisor": runtime.Supervisor,
    "Session": runtime.Session,
    "SessionReader": runtime.SessionReader,
    "Run": runtime.Run,
    "Subscription": runtime.Subscription,
    "Reader": runtime.Reader,
    "RunContext": agents.RunContext,
}
ASYNCIO: dict[str, Any] = {
    **{name: getattr(asyncio_host, name) for name in NATIVE if name != "RunContext"},
    "RunContext": asyncio_host.AsyncioRunContext,
}
SYNC: dict[str, Any] = {
    **{name: getattr(sync_host, name) for name in NATIVE if name != "RunContext"},
    "RunContext": sync_host.SyncRunContext,
}
FUNCTIONS = ("open_supervisor", "open_reader", "current_run", "current_session")


def public_names(native: Any) -> list[str]:
    return [name for name in dir(native) if not name.startswith("_")]


def parameters(call: Any) -> list[tuple[str, Any, Any]]:
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(call).parameters.values()
    ]


MEMBERS = [
    (name, member)
    for name, native in NATIVE.items()
    for member in public_names(native)
    if f"{name}.{member}" not in NOT_CROSSED
]


@pytest.mark.parametrize("faces", [ASYNCIO, SYNC], ids=["asyncio", "sync"])
@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_a_face_has_each_public_member_with_its_parameters(
    name: str, member: str, faces: dict[str, Any]
) -> None:
    found = getattr(faces[name], member, None)
    native = getattr(NATIVE[name], member)

    assert found is not None, f"let {name}.{member} cross in both faces, or say why it does not"
    if isinstance(native, property) or inspect.ismemberdescriptor(native):
        assert isinstance(found, property), f"{name}.{member} is read without a call"
        return
    assert parameters(found) == parameters(native), f"{name}.{member} takes something else here"
    awaited = inspect.iscoroutinefunction(native) or f"{name}.{member}" in AWAITED
    assert inspect.iscoroutinefunction(found) == (awaited and faces is ASYNCIO), (
        f"{name}.{member} is awaited in asyncio if it is in trio, and never in threads"
    )


@pytest.mark.parametrize("host", [asyncio_host, sync_host])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_functions_take_the_same(name: str, host: Any) -> None:
    there, here = parameters(getattr(runtime, name)), parameters(getattr(host, name))

    assert [word[:2] for word in there] == [word[:2] for word in here]


@pytest.mark.parametrize("host", [asyncio_host, sync_host])
def test_all_lists_what_is_there_once(host: Any) -> None:
    assert [name for name in host.__all__ if not hasattr(host, name)] == []
    assert len(set(host.__all__)) == len(host.__all__)


@pytest.mark.parametrize("path", [*NOT_CROSSED, *AWAITED])
def test_the_tables_name_what_exists(path: str) -> None:
    name, member = path.split(".")

    assert hasattr(NATIVE[name], member), f"take {path} out of the tables above"
