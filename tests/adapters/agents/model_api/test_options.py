from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.model_api.options import ClientLimits, loop_parts
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.runtime.errors import InvalidArgument

GOOD: dict[str, Any] = {
    "settings": AgentSettings(),
    "tools": (),
    "tool_limits": None,
    "hooks": None,
    "approval_timeout_seconds": None,
    "approval_default": "deny",
    "coalesce_seconds": 0.02,
    "context_window": None,
    "prices": None,
}


async def add(a: int) -> int:
    return a


def test_functions_become_tools() -> None:
    assert list(loop_parts(**(GOOD | {"tools": [add]})).tools) == ["add"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("approval_timeout_seconds", 0),
        ("approval_default", "maybe"),
        ("coalesce_seconds", -1),
        ("prices", {"m": {"inputs": 1}}),
        ("tools", [add, add]),
    ],
)
def test_what_is_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=name if name != "tools" else "two tools"):
        loop_parts(**(GOOD | {name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", True),
        ("retries_max", -1),
        ("retries_max", 1.5),
        ("stall_seconds_max", 0),
        ("stall_seconds_max", float("nan")),
        ("stall_seconds_max", "5"),
    ],
)
def test_limits_are_checked(name: str, value: object) -> None:
    good: dict[str, Any] = {"max_tokens": None, "retries_max": 0, "stall_seconds_max": 1.5}
    ClientLimits(**good)

    with pytest.raises(InvalidArgument, match=name):
        ClientLimits(**(good | {name: value}))
