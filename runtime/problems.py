"""What is recorded of an exception that ended a run."""

from __future__ import annotations

from typing import Any

from .codec import check_plain, pack
from .errors import InvalidArgument

MESSAGE_CHARS_MAX = 4_096
"""Longest error message that is recorded; agents put whole outputs into exceptions."""
CODE_CHARS_MAX = 256
DETAILS_BYTES_MAX = 65_536

_ASYNCIO_HINT = (
    ": an agent that uses asyncio is made by asyncio_agent, "
    "which is in moorage.adapters.gateways.asyncio_host"
)
"""For an agent of asyncio's that is called in trio as it is."""


def problem_of(error: BaseException, *, code: str | None = None) -> dict[str, Any]:
    """Describe an exception as an event's ``error``; takes code, retryable and details from the
    exception's attributes where they are fit to be recorded."""
    own_code = None if isinstance(error, SystemExit) else _fact(error, "code")
    if isinstance(own_code, str) and own_code:
        code = code or _encodable(own_code)[:CODE_CHARS_MAX]
    try:
        message = str(error)
        if isinstance(error, RuntimeError) and message == "no running event loop":
            message += _ASYNCIO_HINT
    except Exception:
        message = "(the exception's message cannot be made)"
    problem: dict[str, Any] = {
        "code": code or ("agent_exited" if isinstance(error, SystemExit) else "agent_failed"),
        "message": _encodable(message)[:MESSAGE_CHARS_MAX],
        "type": _encodable(type(error).__qualname__),
        "retryable": _fact(error, "retryable") is True,
    }
    details = _fact(error, "details")
    if details is not None:
        try:
            check_plain(details)
            if len(pack(details)) <= DETAILS_BYTES_MAX:
                problem["details"] = details
        except InvalidArgument:
            pass
    return problem


def _fact(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception:  # a property of somebody else's class may do anything
        return None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
