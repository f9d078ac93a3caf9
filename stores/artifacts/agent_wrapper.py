"""``with_artifacts``: an agent whose large payloads go elsewhere, without knowing of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.agents import RunContextWrapper
from moorage.runtime.current import run_in_context
from moorage.runtime.errors import InvalidArgument, MoorageError

from .moving import bring_back, move_out
from .references import Reference
from .registry import READ_BYTES_MAX, STORED, count_artifacts, new_key, registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from moorage.runtime.agents import Agent, RunContext, RunSession
    from moorage.runtime.events import Data, Event, NewEvent
    from moorage.runtime.runs import RunRequest
    from moorage.runtime.sessions import SessionInfo

    from .port import ArtifactStore

OVER_BYTES = 64 * 1024


def not_conversation(type: str) -> bool:
    """What is moved by default: everything but messages, which every reader of a conversation has
    to find in the log."""
    return not type.startswith(("message_", "conversation_"))


def with_artifacts(
    agent: Agent,
    artifacts: ArtifactStore,
    *,
    over_bytes: int = OVER_BYTES,
    moves: Callable[[str], bool] = not_conversation,
    bytes_max: int = READ_BYTES_MAX,
) -> Agent:
    """``agent``, with payloads of more than ``over_bytes`` in ``artifacts``.

    What it emits (of the types that ``moves`` accepts), what it parks and asks with, and what it
    returns keeps references instead. What it reads comes back as it was, up to ``bytes_max`` for
    each value: its input and answers, and events of ``context.session``. ``emit_nowait`` cannot
    wait for a store and moves nothing. Every artifact is registered as the run's, and counted when
    the agent returns or raises. Raises InvalidArgument.
    """
    if type(over_bytes) is not int or over_bytes < 1:
        raise InvalidArgument(f"over_bytes must be an int of at least 1, not {over_bytes!r}")

    async def run(request: RunRequest, context: RunContext) -> object:
        outside = _ArtifactContext(context, artifacts, over_bytes, moves, bytes_max)
        request = attrs.evolve(
            request,
            input=await outside.back(request.input),
            answers={name: await outside.back(value) for name, value in request.answers.items()},
        )
        run_in_context.set(outside)
        try:
            output = await outside.out(await agent(request, outside))
        except Exception:
            with suppress(MoorageError):  # what the agent raised says more
                await outside.count()
            raise
        await outside.count()
        return output

    return run


class _ArtifactContext(RunContextWrapper):
    """The run's context, with payloads moved out on their way in and brought back on their way
    out."""

    def __init__(
        self,
        context: RunContext,
        artifacts: ArtifactStore,
        over_bytes: int,
        moves: Callable[[str], bool],
        bytes_max: int,
    ) -> None:
        super().__init__(context)
        self._artifacts = artifacts
        self._over_bytes = over_bytes
        self._moves = moves
        self._bytes_max = bytes_max
        self._kept = 0
        self._session = _ArtifactSession(context.session, self)

    @property
    def session(self) -> RunSession:
        return self._session

    async def out(self, value: Data) -> Data:
        return await move_out(value, self._keep, over_bytes=self._over_bytes)

    async def back(self, value: Data) -> Data:
        return await bring_back(value, self._artifacts, bytes_max=self._bytes_max)

    def moves(self, type: object) -> bool:
        return isinstance(type, str) and self._moves(type)

    async def _keep(self, content: bytes, media_type: str) -> Reference:
        """In this order: there, registered, and only then referred to."""
        stored = await self._artifacts.put(new_key(self.session_id), content, media_type=media_type)
        await self._context.emit(STORED, registration(stored, media_type))
        self._kept += 1
        return Reference.of(stored, media_type)

    async def count(self) -> None:
        """Where a run is cut off before it gets here, the next count has it."""
        if self._kept:
            await self._context.flush()
            await count_artifacts(self._context.session)

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if self.moves(type):
            data = await self.out(data)
        await super().emit(type, data, time_ns=time_ns, metadata=metadata)

    async def park(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        value = await super().park(
            name, await self.out(data), timeout_seconds=timeout_seconds, default=default
        )
        return await self.back(value)

    async def ask(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        value = await super().ask(
            name, await self.out(data), timeout_seconds=timeout_seconds, default=default
        )
        return await self.back(value)


class _ArtifactSession:
    """The run's session: what is read of it has its payloads back."""

    def __init__(self, session: RunSession, context: _ArtifactContext) -> None:
        self._session = session
        self._context = context

    @property
    def id(self) -> str:
        return self._session.id

    async def info(self) -> SessionInfo:
        return await self._session.info()

    async def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        types: set[str] | None = None,
        run_id: str | None = None,
    ) -> list[Event]:
        page = await self._session.events(
            after=after, before=before, limit=limit, types=types, run_id=run_id
        )
        return [
            event
            if event.type == STORED
            else attrs.evolve(event, data=await self._context.back(event.data))
            for event in page
        ]

    async def append(
        self, type: str, data: Data, *, metadata: dict[str, Any] | None = None
    ) -> Event:
        if self._context.moves(type):
            data = await self._moved_out(data)
        return await self._session.append(type, data, metadata=metadata)

    async def append_many(self, events: Iterable[NewEvent]) -> list[Event]:
        moved = [
            attrs.evolve(event, data=await self._moved_out(event.data))
            if self._context.moves(event.type)
            else event
            for event in events
        ]
        return await self._session.append_many(moved)

    async def _moved_out(self, data: Data) -> Data:
        """What is appended is durable at once, so what it refers to has to be registered before."""
        moved = await self._context.out(data)
        if moved is not data:
            await self._context.flush()
        return moved

    async def configure(
        self,
        *,
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
        metadata_update: dict[str, Any] | None = None,
    ) -> None:
        await self._session.configure(
            slots=slots,
            tags=tags,
            metadata=metadata,
            summary=summary,
            metadata_update=metadata_update,
        )
