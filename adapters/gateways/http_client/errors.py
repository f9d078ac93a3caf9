"""Errors of a client: the runtime's own, made again from problem documents, and three more.

::

    MoorageError
    ├── InvalidArgument
    │   └── InvalidRequest        the server found a value that is not of the kind it takes
    ├── RequestRefused            for what only HTTP has: tokens, tenants, rates, sizes (see .code)
    └── ServerUnreachable         no answer; whether it was done is unknown unless .written is False
    WaitTimedOut                  a trio.TooSlowError, and a TimeoutError as asyncio has it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime import errors as of_runtime
from moorage.runtime.errors import InvalidArgument, MoorageError, RunError
from moorage.runtime.reversible_json import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping


class RequestRefused(MoorageError):
    """The gateway, or something in front of it, refuses the request. ``status`` is that of HTTP,
    ``code`` and ``retryable`` are those of the answer."""

    code = "request_refused"
    status: int = 0


class InvalidRequest(InvalidArgument):
    """A value is not of the kind that the server takes. ``errors`` has a map for each of them:
    ``field``, ``value`` and ``expected``."""

    code = "invalid_request"


class ServerUnreachable(MoorageError):
    """There was no answer for ``unreachable_seconds_max``, or the connection was cut in the middle
    of a request that must not be sent twice.

    ``written`` is False when it is certain that the server did nothing, and None when what became
    of it is unknown. A submit with the same ``key`` may always be sent again.
    """

    code = "server_unreachable"
    retryable = True

    def __init__(self, url: str, *, why: str, written: bool | None) -> None:
        told = "nothing was done" if written is False else "it is not known whether it was done"
        super().__init__(f"{url} cannot be reached ({why}), {told}: see whether it runs")
        self.url = url
        self.written = written


class WaitTimedOut(trio.TooSlowError, TimeoutError):
    """What was waited for has not come in time; only the wait has ended."""


KINDS: Mapping[str, type[MoorageError]] = {
    kind.code: kind
    for kind in (*vars(of_runtime).values(), InvalidRequest)
    if isinstance(kind, type) and issubclass(kind, MoorageError) and not issubclass(kind, RunError)
}
"""Code -> error. Errors of runs come out of their outcomes."""

UNTOLD: Mapping[type[MoorageError], Mapping[str, Any]] = {
    of_runtime.MigrationRequired: {"written": False, "poisoned": False, "found": 0, "needed": 0},
    of_runtime.CorruptLog: {
        "written": False,
        "poisoned": True,
        "file": "",
        "offset": 0,
        "reason": "",
    },
    of_runtime.StoreFailed: {"written": None, "poisoned": False},
    of_runtime.SessionHeld: {"holder": "another process"},
    of_runtime.StaleOwner: {"session_id": "", "epoch": 0},
}
"""Facts that a server tells an admin only, as everybody else has them."""


def error_of(document: Mapping[str, Any], status: int = 0) -> MoorageError:
    """The error that a problem document tells of, with its facts as attributes."""
    code = str(document.get("code", RequestRefused.code))
    message = str(document.get("detail") or document.get("title") or code)
    kind = KINDS.get(code, RequestRefused)
    # not by its constructor, which makes the message of the facts: here both are given
    error = kind.__new__(kind, message)
    MoorageError.__init__(error, message)
    facts = document.get("facts")
    told = facts if isinstance(facts, dict) else {}
    known = dict(UNTOLD.get(kind, {}))
    for name, value in told.items():
        if name.isidentifier() and not hasattr(kind, name):
            known[name] = from_json(value)
    if kind is RequestRefused:
        known |= {"status": status, "code": code, "retryable": document.get("retryable") is True}
    vars(error).update(known)
    return error


def not_a_gateway(what: str, status: int = 0) -> RequestRefused:
    """The error for an answer that no gateway gives."""
    error = error_of({"code": "not_a_gateway", "detail": f"{what}: is this the right address?"})
    assert isinstance(error, RequestRefused)
    error.status = status
    return error
