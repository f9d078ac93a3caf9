"""Compaction: older messages are summed up, and the log keeps them all.

::

    async with open_compactor(context, window, summarise) as compactor:
        answer = await compactor.ask(ask_the_model)     # ask_the_model(messages) -> anything
        compactor.report(prompt_tokens)

A summary is an event, ``context_compacted``, which every transcript knows how to read: it survives
the run and the process. It is made in the background while there is time and waited for when there
is none. If it cannot be made the oldest messages are left out of the request, and nothing fails.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio
from moorage.adapters.agents.provider.failures import ContextOverflow
from moorage.adapters.agents.provider.side_tasks import open_side_tasks
from moorage.runtime.transcript_pages import TranscriptCache

from .estimating import CHARACTERS_PER_TOKEN, TokenGauge, message_tokens
from .truncating import together, truncate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from moorage.runtime.agents import RunContext
    from moorage.runtime.messages import Message
    from moorage.runtime.transcript import Transcript

    from .window import ContextWindow

    Summarise = Callable[[list[Message], str | None], Awaitable[str]]
    """(messages, previous summary) -> a summary of both."""
    Shown = Callable[[list[Message]], list[Message]]

T = TypeVar("T")

OVERFLOW_SHARE = 0.75
"""How much of what overflowed is tried next, where the window has no limit of its own."""
SUMMARY_SHARE = 4
"""A summary may take one part in so many of the window; what is longer is cut off."""


class Compactor:
    """One run's way to what its model is given; from ``open_compactor``.

    ``transcript`` is as of the last ``context``.
    """

    def __init__(
        self,
        context: RunContext,
        window: ContextWindow,
        summarise: Summarise | None,
        tasks: trio.Nursery,
        gauge: TokenGauge,
        transcripts: TranscriptCache,
        shown: Shown,
        summary_overhead: int,
    ) -> None:
        self.gauge = gauge
        self._shown = shown
        self._summary_overhead = summary_overhead
        self._transcripts = transcripts
        self.transcript: Transcript | None = None
        self._context = context
        self._window = window
        self._summarise = summarise
        self._tasks = tasks
        self._making: trio.Event | None = None
        self._failed = False
        self._asked: list[Message] = []

    async def context(self) -> list[Message]:
        """What the model is to be given now, within the window's limits.

        Flushes the run's events and reads what is new. Past ``compact_blocking_at`` it waits for
        a summary, past ``compact_at`` it begins one beside. Raises ContextOverflow if what must
        be kept is over the limits.
        """
        messages = await self._read()
        limit = self._window.tokens_max
        if limit is not None and self._summarise is not None:
            tokens = self.gauge.tokens(messages)
            if tokens >= limit * self._window.compact_blocking_at:
                await self._wait_made()
                messages = await self._read()
                if self.gauge.tokens(messages) >= limit * self._window.compact_blocking_at:
                    await self._make(messages, self._window.keep_recent_tokens)
                    messages = await self._read()
            elif tokens >= limit * self._window.compact_at and not self._failed:
                self._begin(messages)
        self._asked = truncate(messages, self._window, gauge=self.gauge)
        return self._asked

    async def ask(self, ask: Callable[[list[Message]], Awaitable[T]]) -> T:
        """Ask the model with ``context``. If the provider says that it is too long, it is made
        much shorter and asked once more; a second ContextOverflow is raised, and so is one of what
        cannot be made shorter."""
        messages = await self.context()
        try:
            return await ask(messages)
        except ContextOverflow as overflow:
            answer = await ask(await self._shorter(messages))
            data = {"code": overflow.code, "message": "asked again with a shorter conversation"}
            await self._context.emit("error_recovered", data)
            return answer

    def report(self, prompt_tokens: int) -> None:
        """The provider counted so many tokens, cached ones included, for what was last asked."""
        self.gauge.report(prompt_tokens, self._asked)

    async def _shorter(self, messages: list[Message]) -> list[Message]:
        """Whatever the limits say, the provider's is lower than what was asked."""
        limit = max(1, int(self.gauge.tokens(messages) * OVERFLOW_SHARE))
        if self._window.tokens_max is not None:
            limit = min(limit, self._window.tokens_max)
        self._window = attrs.evolve(self._window, tokens_max=limit)
        await self._wait_made()
        if self._summarise is not None:
            await self._make(await self._read(), 0)
        self._asked = truncate(await self._read(), self._window, gauge=self.gauge)
        return self._asked

    async def _read(self) -> list[Message]:
        await self._context.flush()
        self.transcript = await self._transcripts.read(self._context.session)
        return self._shown(self.transcript.context(self._context.run_id))

    def _begin(self, messages: list[Message]) -> None:
        if self._making is None:
            self._making = trio.Event()
            self._tasks.start_soon(self._make_beside, messages, self._making)

    async def _make_beside(self, messages: list[Message], made: trio.Event) -> None:
        try:
            await self._make(messages, self._window.keep_recent_tokens)
        finally:
            self._making = None
            made.set()

    async def _wait_made(self) -> None:
        if self._making is not None:
            await self._making.wait()

    async def _make(self, messages: list[Message], keep_tokens: int) -> None:
        """Sum up all but the newest messages, and record it. An error is told and not raised."""
        assert self._summarise is not None, "nothing is made without it"
        older, kept = _parted(messages, self._kept_tokens(keep_tokens))
        if not older:
            return
        assert self.transcript is not None, "the messages were read"
        previous = self.transcript.compaction
        summary = None if previous is None else previous.summary
        try:
            # what is longer than a request may be is summed up in several
            while older:
                portion, older = _portioned(older, self._portion_tokens(summary))
                summary = self._cut(await self._summarise(portion, summary))
            await self._record(messages, kept, summary or "")
        except Exception as error:
            self._failed = True
            await self._context.emit("error_occurred", _told(error))
        else:
            self._failed = False

    async def _record(self, messages: list[Message], kept: list[Message], summary: str) -> None:
        if not summary.strip():
            raise ValueError("the summary is empty")
        data = {
            "summary": summary,
            "first_kept_seq": min(message.seq for message in kept),
            "tokens_before": self.gauge.tokens(messages),
            "tokens_after": self.gauge.tokens(kept) + len(summary) // CHARACTERS_PER_TOKEN,
        }
        await self._context.emit("context_compacted", data)

    def _cut(self, summary: str) -> str:
        limit = self._window.tokens_max
        if limit is None:
            return summary
        # or it would never fit again
        return summary[: limit * CHARACTERS_PER_TOKEN // SUMMARY_SHARE]

    def _portion_tokens(self, summary: str | None) -> int | None:
        """How many tokens of messages a request for a summary may have beside all else in it."""
        limit = self._window.tokens_max
        if limit is None:
            return None
        earlier = -(-len(summary or "") // CHARACTERS_PER_TOKEN)
        return limit - self._summary_overhead - earlier

    def _kept_tokens(self, wanted: int) -> int:
        limit = self._window.tokens_max
        return wanted if limit is None else min(wanted, limit // 2)


def _parted(messages: list[Message], keep_tokens: int) -> tuple[list[Message], list[Message]]:
    """Older messages and the newest ones of about ``keep_tokens``, at least one of these. Neither
    has the earlier summary, and no call is parted from its result."""
    if messages and any(block.get("summary_of") == "context" for block in messages[0].blocks):
        messages = messages[1:]
    groups = together(messages)
    cut = len(groups)
    room = keep_tokens
    while cut:
        room -= sum(map(message_tokens, groups[cut - 1]))
        if room < 0 and cut < len(groups):
            break
        cut -= 1
    older = [message for group in groups[:cut] for message in group]
    kept = [message for group in groups[cut:] for message in group]
    return older, kept


def _portioned(
    messages: list[Message], tokens_max: int | None
) -> tuple[list[Message], list[Message]]:
    """The first messages, of at most so many tokens, and the rest; calls stay with their results,
    and there is something in the first part, so that it may have more."""
    if tokens_max is None:
        return messages, []
    portion: list[Message] = []
    for group in together(messages):
        tokens_max -= sum(map(message_tokens, group))
        if portion and tokens_max < 0:
            break
        portion += group
    return portion, messages[len(portion) :]


def _told(error: Exception) -> dict[str, Any]:
    return {
        "code": "compaction_failed",
        "category": "conversation",
        "message": f"the conversation could not be summed up: {error}"[:1_000],
        "retryable": True,
    }


@asynccontextmanager
async def open_compactor(
    context: RunContext,
    window: ContextWindow,
    summarise: Summarise | None = None,
    *,
    gauge: TokenGauge | None = None,
    transcripts: TranscriptCache | None = None,
    shown: Shown = list,
    summary_overhead: int = 0,
) -> AsyncIterator[Compactor]:
    """A compactor for a run. Without ``summarise`` messages are only left out. A ``gauge`` that
    is kept from run to run knows from the start what the provider counts beside the messages,
    and with ``transcripts`` kept a run reads only what is new in its session. ``shown`` says which
    messages of the context there are at all. ``summary_overhead`` is how many tokens a request for
    a summary has beside the messages and the earlier summary.

    Leaving waits up to ``window.finish_seconds`` for a summary that is being made; an exception
    of the block comes out bare and ends it.
    """
    async with open_side_tasks() as tasks:
        compactor = Compactor(
            context,
            window,
            summarise,
            tasks,
            gauge or TokenGauge(),
            transcripts or TranscriptCache(),
            shown,
            summary_overhead,
        )
        yield compactor
        with trio.move_on_after(window.finish_seconds):
            await compactor._wait_made()
