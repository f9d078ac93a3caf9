"""Who may do what: the one place where a request is let through or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

import attrs
from moorage.runtime.errors import UnknownSession
from moorage.runtime.identifiers import check_session_id

from .problems import OutsideTenant, ScopeMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

Scope = Literal["read", "write", "approve", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@attrs.frozen(kw_only=True)
class Principal:
    """Who asks: ``key`` is what rates and streams are counted by, ``name`` what is recorded as the
    one who approved (None: nobody in particular). ``admin`` among the scopes stands for all of
    them. Of sessions it sees and makes those whose ids begin with ``prefix``."""

    key: str
    name: str | None = None
    scopes: frozenset[Scope] = frozenset(SCOPES)
    prefix: str = ""

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    @property
    def operates(self) -> bool:
        """Whether it may know of the server itself, which a tenant's admin does not run."""
        return self.has("admin") and not self.prefix


class Authenticator(Protocol):
    """Turns a request's headers into who sent it."""

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Raises Unauthenticated. ``headers`` are looked up without regard to case."""
        ...


def check_scope(principal: Principal, scope: Scope) -> None:
    """Raise ScopeMissing unless the principal has it."""
    if not principal.has(scope):
        raise ScopeMissing(needed=scope, granted=sorted(principal.scopes))


def check_operator(principal: Principal, scope: Scope = "admin") -> None:
    """Raise ScopeMissing unless the principal has the scope, and for more than one tenant's
    sessions."""
    if not principal.has(scope) or principal.prefix:
        raise ScopeMissing(needed=scope, granted=sorted(principal.scopes), of_all=True)


def check_session(principal: Principal, session_id: str) -> str:
    """The session id if the principal may know of it. Raises UnknownSession exactly as for one
    that does not exist, and InvalidArgument for what no session can be called."""
    if not session_id.startswith(principal.prefix):
        raise UnknownSession(session_id)
    return check_session_id(session_id)


def check_new_session(principal: Principal, session_id: str) -> str:
    """The id of a session to be made. Raises OutsideTenant, whether or not it exists."""
    if not session_id.startswith(principal.prefix):
        raise OutsideTenant(prefix=principal.prefix)
    return check_session_id(session_id)


def visible_prefix(principal: Principal, wanted: str) -> str | None:
    """The prefix of the sessions to list: those that are wanted and may be seen. None: none are."""
    if wanted.startswith(principal.prefix):
        return wanted
    return principal.prefix if principal.prefix.startswith(wanted) else None
