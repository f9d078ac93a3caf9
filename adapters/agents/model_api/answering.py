"""One question to a model: its answer is streamed as events while it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio
from moorage.runtime.limits import MEBIBYTE
from moorage.runtime.messages import Message

from ..provider.failures import AgentFailure, ConnectionLost, ProtocolViolated
from .reply import Piece
from .server_events import ServerEvents, UnreadableEvents

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime.agents import RunContext

    from ..provider.deltas import DeltaStream
    from .reply import Reply, ReplyStream


@attrs.frozen(kw_only=True)
class Question:
    """What a model is asked: all that a request is made of.

    ``tools`` are maps with name, description and input_schema. ``previous`` is the provider's id of
    the answer that this one continues; then ``messages`` are only those behind it.
    """

    messages: Sequence[Message]
    model: str
    system_prompt: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    provider_options: Mapping[str, Any] = attrs.field(factory=dict)
    previous: str | None = None


class ModelApi(Protocol):
    """One API of one provider."""

    @property
    def provider(self) -> str: ...
    @property
    def keeps_answers(self) -> bool:
        """Whether a question may continue an earlier answer by its id."""
        ...

    def decoder(self) -> ReplyStream: ...
    def stream(self, question: Question) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes of the answer's server-sent events. Raises AgentFailure, within the block
        too."""
        ...


REPLY_BYTES_MAX = 128 * MEBIBYTE
"""How much a provider may send for one answer: some hundred bytes for each of its tokens."""
HANG_UP_SECONDS = 5.0
"""How long a provider may take to hang up once it has said all; what else it says is of no use."""

Tell = Callable[[Sequence[Piece]], Awaitable[None]]
"""What is called with pieces of an answer as they come."""


async def answered(
    api: ModelApi, question: Question, tell: Tell | None = None, *, bytes_max: int = REPLY_BYTES_MAX
) -> Reply:
    """Ask, tell what comes, and return the whole answer.

    Raises AgentFailure: what the provider refuses, ConnectionLost for an answer that ends before it
    is whole, and ProtocolViolated for one of more than ``bytes_max`` bytes.
    """
    decoder, parser = api.decoder(), ServerEvents()
    size = 0
    try:
        with trio.CancelScope() as scope:
            async with api.stream(question) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    pieces = decoder.feed(parser.feed(chunk))
                    if pieces and tell is not None:
                        await tell(pieces)
                    if failure := decoder.failure or parser.failure:
                        raise _failure(failure, api.provider)
                    if size > bytes_max:
                        raise _endless(api.provider, bytes_max)
                    if decoder.finished or parser.done:
                        scope.deadline = min(scope.deadline, trio.current_time() + HANG_UP_SECONDS)
                pieces = decoder.feed(parser.close())
                if pieces and tell is not None:
                    await tell(pieces)
                if decoder.failure is not None:
                    raise decoder.failure
    except AgentFailure:
        if not (decoder.finished or parser.done):  # behind a whole answer it harms nobody
            raise
    if not (decoder.finished or parser.done):
        raise ConnectionLost(
            f"{api.provider} ended the stream before the answer was whole", provider=api.provider
        )
    return decoder.reply()


def told_as_events(provider: str, context: RunContext, deltas: DeltaStream) -> Tell:
    """A Tell that records the pieces: deltas as such, the rest as provider_event."""

    async def tell(pieces: Sequence[Piece]) -> None:
        for kind, value in pieces:
            if kind == "text":
                await deltas.add(value)
            elif kind == "thinking":
                await deltas.add_thinking(value)
            else:
                await deltas.flush()
                data = {"provider": provider, "original": value}
                await context.emit("provider_event", data, metadata={"provider": provider})

    return tell


def _endless(provider: str, bytes_max: int) -> AgentFailure:
    return ProtocolViolated(
        f"{provider} sent more than {bytes_max} bytes for one answer, which has no end",
        provider=provider,
    )


def _failure(failure: AgentFailure | UnreadableEvents, provider: str) -> AgentFailure:
    if isinstance(failure, AgentFailure):
        return failure
    return ProtocolViolated(f"{provider}: {failure}", provider=provider)


@asynccontextmanager
async def read_to_the_end(
    chunks: AsyncGenerator[bytes, None],
) -> AsyncIterator[AsyncIterator[bytes]]:
    """``chunks``, which are left neither half read nor open when the block is.

    An HTTP client's generators are nested, and closing the outermost one in the middle leaves inner
    ones to the garbage collector. They all end well, though, when one that waits for the network is
    cancelled, so that is done to them.
    """
    async with aclosing(chunks):
        try:
            yield chunks
        except BaseException:
            with trio.CancelScope(shield=True) as scope:
                scope.cancel()
                with contextlib.suppress(Exception):  # the block's own says more
                    async for _ in chunks:
                        pass
            raise
