"""Sessions and supervisors whose every change is on record first: for gateways, which know who
asks."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from moorage.runtime import Run, RunOutcome, Session, Supervisor
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import approval_of

if TYPE_CHECKING:
    from moorage.adapters.sinks.telemetry import AuditLog

Target = TypeVar("Target", Session, Supervisor)

SESSION_ACTIONS = frozenset(
    {
        "acknowledge",
        "add_messages",
        "answer",
        "append",
        "append_many",
        "approve",
        "branch",
        "cancel",
        "checkpoint",
        "clear",
        "close",
        "configure",
        "deny",
        "drain",
        "fork",
        "label",
        "pause",
        "reopen",
        "restore",
        "resume",
        "rotate",
        "steer",
        "submit",
        "trim",
        "unlabel",
    }
)
"""What changes a session. The rest reads, and is not recorded."""

SUPERVISOR_ACTIONS = frozenset(
    {
        "apply_retention",
        "delete_session",
        "drain",
        "restore_session",
        "run_once",
        "session",
        "unquarantine",
    }
)

OF_A_RUN = frozenset({"answer", "cancel", "steer"})
OF_AN_APPROVAL = frozenset({"approve", "deny"})
OF_A_SESSION = frozenset({"delete_session", "restore_session", "session", "unquarantine"})
"""Actions whose first argument, or the one with that name, says what they are about."""

ACTION_NAMES = {"session": "open_session"}


def audited(
    target: Target, audit: AuditLog, *, actor: str, request_id: str | None = None
) -> Target:
    """``target``, for one caller: what ``actor`` changes by it, and by the sessions and runs it
    gives, is recorded in ``audit`` before it is done, and how it went after. Inputs, outputs and
    other payloads are not.

    What is given has everything that ``target`` has, but is no instance of its class. Its actions
    raise AuditFailed when they cannot be recorded, and what they raise otherwise. Raises
    InvalidArgument for what is neither, such as a session of the asyncio face.
    """
    if not isinstance(target, (Session, Supervisor)):
        raise InvalidArgument(f"a Session or a Supervisor can be audited, not {target!r}")
    actions = SUPERVISOR_ACTIONS if isinstance(target, Supervisor) else SESSION_ACTIONS
    return cast("Target", _Audited(target, audit, actor, request_id, actions))


class _Audited:
    """Everything but actions goes straight to what is inside."""

    def __init__(
        self,
        target: Any,
        audit: AuditLog,
        actor: str,
        request_id: str | None,
        actions: frozenset[str],
    ) -> None:
        self._target = target
        self._audit = audit
        self._actor = actor
        self._request_id = request_id
        self._actions = actions

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name in self._actions:
            return partial(self._act, name, value)
        if name == "execute":  # which is to submit, and to wait
            return partial(Session.execute, cast("Session", self))
        if name in ("run", "handle"):
            return lambda *arguments, **named: self._given(value(*arguments, **named))
        return value

    async def _act(self, name: str, method: Any, *arguments: Any, **options: Any) -> Any:
        of_session = isinstance(self._target, Session)
        about = _what(name, arguments, options)
        if of_session:
            about["session_id"] = self._target.id
        async with self._audit.action(
            ACTION_NAMES.get(name, name),
            actor=self._actor,
            request_id=self._request_id,
            **about,
        ) as action:
            result = await method(*arguments, **options)
            if isinstance(result, Run):
                action.run_id = result.id
            elif isinstance(result, RunOutcome):
                action.run_id, action.session_id = result.run_id, result.session_id
            elif isinstance(result, Session) and of_session:
                action.new_session_id = result.id
            elif isinstance(result, Session):
                action.session_id = result.id
        return self._given(result)

    def _given(self, result: Any) -> Any:
        """Sessions and runs that come out of it are audited, too."""
        if isinstance(result, Session):
            return _Audited(result, self._audit, self._actor, self._request_id, SESSION_ACTIONS)
        if isinstance(result, Run):
            return Run(cast("Session", self), result.id, result.key)
        return result


def _what(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, str | None]:
    """What the first argument names. One that makes no sense is refused by the method."""
    if name in OF_A_RUN:
        return {"run_id": _first("run_id", arguments, options)}
    if name in OF_A_SESSION:
        parameter = "id" if name == "session" else "session_id"
        return {"session_id": _first(parameter, arguments, options)}
    if name in OF_AN_APPROVAL:
        with suppress(InvalidArgument):
            return {"run_id": approval_of(_first("request_id", arguments, options) or "")[0]}
    return {}


def _first(parameter: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    value = arguments[0] if arguments else options.get(parameter)
    return value if isinstance(value, str) else None
