"""MoorageSession: a session of the OpenAI Agents SDK whose items live in a session of ours."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.transcript import Transcript

from .agents_sdk_items import PROVIDER, event_of_item, item_of_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from moorage.runtime.events import Event, NewEvent

PAGE_EVENTS = 1_000

Item = Any
"""A map, as the SDK's ``TResponseInputItem`` describes it. The SDK itself is not imported: its
``Session`` is a protocol."""

Result = TypeVar("Result")


class SessionLog(Protocol):
    """What is needed of ``moorage.runtime.Session``."""

    @property
    def id(self) -> str: ...
    async def events(self, *, after: int = 0, limit: int = 100) -> list[Event]: ...
    async def append(
        self, type: str, data: Any, *, metadata: dict[str, Any] | None = None
    ) -> Event: ...
    async def append_many(self, events: Iterable[NewEvent]) -> list[Event]: ...


class MoorageSession:
    """The memory of an agent of the OpenAI Agents SDK, as events of a Moorage session.

    ::

        session = MoorageSession(await supervisor.session("user-42"))
        await Runner.run(agent, "Hello", session=session)

    Items are durable when ``add_items`` returns, all of them or none. Transcripts of the session
    tell them as messages and calls. ``pop_item`` goes back to before the last item and
    ``clear_session`` begins anew, as ``session.restore`` and ``session.clear`` do: the log keeps
    everything. What others say in the session is no item, and gone back behind all the same.

    The SDK runs on asyncio, a supervisor in trio: from asyncio the methods wait for the trio loop
    of ``trio_token``, by default the one in which this object was made. A change that has begun is
    finished even if the task that waits for it is cancelled. Raises InvalidArgument without a
    token, and for items that are no plain data.
    """

    def __init__(
        self,
        log: SessionLog,
        *,
        trio_token: trio.lowlevel.TrioToken | None = None,
        session_settings: Any = None,
    ) -> None:
        if trio_token is None:
            if not trio.lowlevel.in_trio_run():
                raise InvalidArgument(
                    "MoorageSession needs trio_token=... where it is not made within trio: that of "
                    "the loop which the supervisor runs in (trio.lowlevel.current_trio_token())"
                )
            trio_token = trio.lowlevel.current_trio_token()
        self.session_id = log.id
        self.session_settings = session_settings
        self._log = log
        self._token = trio_token
        self._transcript = Transcript()
        self._items: list[tuple[int, dict[str, Any]]] = []
        self._changing = trio.Lock()

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """The items in order, or the latest ``limit`` of them."""
        if limit is None:
            limit = _limit_of(self.session_settings)
        items = [item for _, item in await self._in_trio(self._active)]
        if limit is not None:
            items = items[-limit:] if limit > 0 else []
        return items

    async def add_items(self, items: list[Item]) -> None:
        """Add items behind those that are there."""
        events = [event_of_item(_plain(item)) for item in items]
        if events:
            await self._in_trio(self._log.append_many, events)

    async def pop_item(self) -> Item | None:
        """Remove the last item and return it; None if there is none."""
        return await self._in_trio(self._pop)

    async def clear_session(self) -> None:
        """Remove all items."""
        await self._in_trio(
            functools.partial(self._log.append, metadata={"provider": PROVIDER}),
            "conversation_cleared",
            {},
        )

    async def _active(self) -> list[tuple[int, dict[str, Any]]]:
        """(seq, item) of those on the active branch; reads what has come since."""
        while True:
            page = await self._log.events(after=self._transcript.seq, limit=PAGE_EVENTS)
            for event in page:
                if event.seq <= self._transcript.seq:
                    continue  # another reader was here in the meantime
                self._transcript.apply(event)
                if (item := item_of_event(event)) is not None:
                    self._items.append((event.seq, item))
            if len(page) < PAGE_EVENTS:
                break
        # those that were left are kept: a restore may go back to them
        return [(seq, dict(item)) for seq, item in self._items if self._transcript.is_active(seq)]

    async def _pop(self) -> dict[str, Any] | None:
        async with self._changing:  # two at once must not take the same item
            items = await self._active()
            if not items:
                return None
            seq, item = items[-1]
            data = {"to_seq": seq - 1}
            await self._log.append("session_restored", data, metadata={"provider": PROVIDER})
            return item

    async def _in_trio(self, function: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
        if trio.lowlevel.in_trio_run():
            return await function(*arguments)

        def hop() -> Result:
            return trio.from_thread.run(function, *arguments, trio_token=self._token)

        task = asyncio.ensure_future(asyncio.to_thread(hop))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            # a thread cannot be cancelled, and what it does must not come as a surprise later
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return task.result()


def _limit_of(settings: Any) -> int | None:
    """The limit of the SDK's SessionSettings, an object or a map."""
    limit: int | None = (
        settings.get("limit") if isinstance(settings, dict) else getattr(settings, "limit", None)
    )
    return limit


def _plain(item: Any) -> dict[str, Any]:
    """The item as a map: some of the SDK's are objects of pydantic."""
    if hasattr(item, "model_dump"):
        item = item.model_dump(exclude_unset=True)
    if not isinstance(item, dict):
        raise InvalidArgument(f"an item must be a map, not {item!r}")
    return item
