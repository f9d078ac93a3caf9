"""What the runtime's objects can do and a client can't, and why; a test compares all members."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPERATOR = "is for the server's operator, who has the store and the command line"

NOT_OVER_HTTP: Mapping[str, str] = {
    "Supervisor.deliver": "hands over commands of the runtime's inside",
    "Supervisor.drain": "ends the server: its operator does that with SIGTERM",
    "Supervisor.failure": "of the server's store; calls raise it, and /readyz tells of it",
    "Supervisor.limits": "are the server's; SessionStatus has those that one meets",
    "Supervisor.note_blocked_loop": "is for the runtime's own tasks",
    "Supervisor.recover": "the server does it when it starts",
    "Supervisor.statistics": "is for the server's operator: GET /v1/statistics",
    "Supervisor.apply_retention": f"{_OPERATOR}: moorage prune",
    "Supervisor.wait_recovered": f"{_OPERATOR}; a run that is waited for is recovered first",
}
"""Member, or parameter of one -> why there is none."""
