"""Connecting to a server: its sessions, as a supervisor has them."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import anyio
import httpx
from moorage.runtime.errors import InvalidArgument, UnknownSession
from moorage.runtime.identifiers import check_session_id
from moorage.runtime.runs import RunState

from . import decoding
from .conversation import changed
from .encoding import expiry, given, plain
from .handles import Session
from .limits import ClientLimits
from .queries import Queries, query_of
from .transport import Transport, path_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from moorage.runtime.events import Data
    from moorage.runtime.placement import NodeInfo, SessionHolder
    from moorage.runtime.runs import RunOutcome
    from moorage.runtime.sessions import Mode, SessionInfo

SESSIONS_PAGE = 500
TIDY_SECONDS_MAX = 30.0
"""How long a run of a session of its own may take to be cancelled when nobody waits any more."""


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    limits: ClientLimits | None = None,
    on_waiting: Callable[[float], None] | None = None,
) -> AsyncIterator[Client]:
    """A client of the gateway at ``url``, like ``http://127.0.0.1:8040``; under trio or asyncio.

    ``token`` is a bearer token, as ``moorage tokens new`` makes it. Nothing is asked for yet: the
    first call finds out whether there is a server. Leaving it cuts all connections; leave
    subscriptions first. ``on_waiting`` is called, with for how many seconds at most, each time a
    server that is not there is waited for and does not come back at once. Raises InvalidArgument
    for what is no address.
    """
    limits = limits or ClientLimits()
    pool = httpx.Limits(
        max_connections=limits.connections_max, max_keepalive_connections=limits.connections_max
    )
    address = _checked_url(url)
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise InvalidArgument("token must be one word of visible ASCII")
    async with httpx.AsyncClient(limits=pool, follow_redirects=False) as client:
        yield Client(Transport(client, address, limits, token, on_waiting))


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and not parts.query and not parts.fragment and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        raise InvalidArgument(f"{url!r} is no address of a server: give http://HOST:PORT")
    return url.rstrip("/")


class Client(Queries):
    """From ``connect``: what a server has, with the names that a supervisor has."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def url(self) -> str:
        return self._transport.url

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    async def session(
        self,
        id: str | None = None,
        *,
        mode: Mode = "open_or_create",
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
        expire_after_seconds: float | Literal["never", "by_policy"] | None = None,
        include_deleted: bool = False,
        node_tags: dict[str, str] | None = None,
    ) -> Session:
        """Open or create a session; without an id it gets a new, time-sortable one.

        What is omitted keeps what is recorded; another value is recorded. Where nodes share the
        store, only one whose own ``node_tags`` have all of these serves it. Retention deletes the
        session ``expire_after_seconds`` after its last change, or "never", whatever policies say;
        "by_policy" takes that back. Raises SessionExists (``mode="create"``), UnknownSession
        (``mode="resume"``), SessionDeleted (unless ``include_deleted``, which is for reading),
        SessionHeld, StoreFailed, InvalidArgument, AdmissionClosed, RequestRefused and
        ServerUnreachable.
        """
        body = given(
            id=id,
            slots=slots,
            tags=tags,
            metadata=plain(metadata, "metadata"),
            summary=summary,
            expire_after_seconds=expiry(expire_after_seconds),
            include_deleted=include_deleted or None,
            node_tags=node_tags,
        ) | {"mode": mode}
        repeatable = id is not None and mode != "create"
        document = await self._transport.call(
            "POST", path_of("sessions"), body=body, repeatable=repeatable
        )
        return self.handle(decoding.session_info(document).id)

    def handle(self, session_id: str) -> Session:
        """A handle without opening or creating anything; its methods raise UnknownSession."""
        return Session(self._transport, check_session_id(session_id))

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        include_deleted: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        """Every session's info, the newest change first; one that changes meanwhile may come
        twice, or not at all. Those that are softly deleted are left out unless
        ``include_deleted``."""
        cursor: str | None = None
        while True:
            page = await self.search_sessions(
                prefix=prefix,
                tags=tags,
                include_deleted=include_deleted,
                limit=SESSIONS_PAGE,
                cursor=cursor,
            )
            for info in page.items:
                yield info
            cursor = page.next_cursor
            if cursor is None:
                return

    async def nodes(self) -> Sequence[NodeInfo]:
        """The nodes that share the server's store, the server included; a token of its operator
        is needed. Raises InvalidArgument for a store that has one process at a time."""
        document = await self._transport.call("GET", path_of("nodes"), repeatable=True)
        return decoding.nodes(document)

    async def holder(self, session_id: str) -> SessionHolder | None:
        """The node that has the session, or had it until its lease was over; None if nobody has.
        Needs and raises what ``nodes`` does, and UnknownSession."""
        query = [("session_id", check_session_id(session_id))]
        path = path_of("nodes", "holder")
        document = await self._transport.call("GET", path, query=query, repeatable=True)
        return decoding.session_holder(document)

    async def delete_session(
        self,
        session_id: str,
        *,
        soft: bool = False,
        reason: str | None = None,
        expected_seq: int | None = None,
    ) -> bool:
        """Cancel what runs and forget everything but the last seq. True if there was such a
        session; deleting again is no error.

        ``soft`` forgets nothing: the session is closed and hidden until ``restore_session``, and
        ``reason`` is recorded. True if that changed anything. Raises SessionQuarantined for one
        that is quarantined, which can only be deleted for good.

        ``expected_seq`` deletes only what its caller has seen, and saved perhaps: if there is
        anything behind that seq, SessionChanged is raised and nothing is done.
        """
        if reason is not None and not soft:
            raise InvalidArgument("a reason is recorded with soft=True: nothing else is left of it")
        path = path_of("sessions", check_session_id(session_id))
        query = query_of({"soft": soft or None, "reason": reason, "expected_seq": expected_seq})
        try:
            document = await self._transport.call("DELETE", path, query=query, repeatable=True)
        except UnknownSession:
            return False
        return changed(document)

    async def restore_session(self, session_id: str) -> bool:
        """Bring back a session that was softly deleted, as it was, but for the runs that were
        cancelled. True if it was deleted. Raises UnknownSession once it is gone for good."""
        path = path_of("sessions", check_session_id(session_id), "restore")
        return changed(await self._transport.call("POST", path, repeatable=True))

    async def unquarantine(self, session_id: str) -> bool:
        """Try a quarantined session again. True if it was quarantined."""
        path = path_of("sessions", check_session_id(session_id), "unquarantine")
        return changed(await self._transport.call("POST", path, repeatable=True))

    async def run_once(
        self,
        input: Data,
        *,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        node_tags: dict[str, str] | None = None,
        **options: Any,
    ) -> RunOutcome:
        """Execute one run in a session of its own, which is closed afterwards, ``completed`` or
        ``failed``. Takes the options of ``Session.execute``.

        Whatever ends this early, being cancelled or WaitTimedOut after ``wait_seconds``, cancels
        the run, if the server can be reached.
        """
        session = await self.session(tags=tags, metadata=metadata, node_tags=node_tags)
        try:
            outcome = await session.execute(input, **options)
        except BaseException:
            with anyio.move_on_after(TIDY_SECONDS_MAX, shield=True):
                await session.close(outcome="cancelled", force=True)
            raise
        completed = outcome.state is RunState.COMPLETED
        await session.close(outcome="completed" if completed else "failed")
        return outcome
