"""Asking a model for one run: what it is given, what becomes of its answer, and what it costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from moorage.runtime.messages import text_message
from moorage.runtime.transcript_pages import read_transcript

from ..context_window import message_tokens, open_compactor, summary_prompt
from ..context_window.estimating import CHARACTERS_PER_TOKEN, payload_characters
from ..provider.failures import ContextOverflow, ContinuationLost
from .answering import ModelApi, Question, Tell, answered, told_as_events
from .continuing import Continuing
from .prices import cost_usd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.agents import RunContext
    from moorage.runtime.messages import Message
    from moorage.runtime.transcript import Transcript

    from ..context_window import Compactor
    from ..provider.deltas import DeltaStream
    from ..provider.settings import AgentSettings
    from .options import LoopParts
    from .reply import Reply

SUMMARY_OVERHEAD = message_tokens(text_message("user", summary_prompt([], "")))
INPUT_KINDS = ("input_tokens", "cache_read_tokens", "cache_write_tokens")

Emit = Callable[..., Awaitable[None]]
"""``emit(type, data, **metadata)``."""


class Asking:
    """Made within ``opened``; ``model`` is the one to ask. ``emit`` records what happens."""

    def __init__(
        self,
        parts: LoopParts,
        api: ModelApi,
        settings: AgentSettings,
        model: str,
        context: RunContext,
        emit: Emit,
    ) -> None:
        self.continuing = Continuing(api, settings, context)
        self.model = model
        self._parts = parts
        self._api = api
        self._settings = settings
        self._context = context
        self._emit = emit
        self._tools = [
            {"name": one.name, "description": one.description, "input_schema": one.input_schema}
            for one in parts.tools.values()
        ]
        self._compactor: Compactor

    @asynccontextmanager
    async def opened(self, transcript: Transcript) -> AsyncIterator[None]:
        """Around all questions of a run, which go on from ``transcript``; a summary in the making
        is waited for in the end."""
        parts = self._parts
        forgetful = self._settings.continuation == "none"  # what is not sent needs no summary
        async with open_compactor(
            self._context,
            parts.window,
            None if forgetful else self._summarise,
            gauge=parts.gauges.of(self._context.session_id, overhead=self._overhead()),
            transcripts=parts.transcripts,
            shown=self.continuing.shown,
            summary_overhead=SUMMARY_OVERHEAD,
        ) as self._compactor:
            self._compactor.transcript = transcript
            yield

    async def answer(self, deltas: DeltaStream) -> Reply:
        """Ask with the conversation as it is in the log, and stream the answer.

        Raises AgentFailure; a ContextOverflow only if it comes again with a shorter conversation.
        """
        tell = told_as_events(self._api.provider, self._context, deltas)
        if self.continuing.is_native:
            transcript = await self._transcript()
            if (news := await self.continuing.news(transcript)) is not None:
                try:
                    return await self._put(news.messages, tell, previous=news.previous)
                except (ContinuationLost, ContextOverflow) as failure:
                    await self.continuing.lost(failure, transcript)

        refused: list[ContextOverflow] = []

        async def ask(messages: list[Message]) -> Reply:
            try:
                return await self._put(messages, tell)
            except ContextOverflow as overflow:
                refused.append(overflow)
                raise

        try:
            reply = await self._compactor.ask(ask)
        except ContextOverflow as overflow:
            # what the provider says tells more than that nothing shorter can be made
            raise refused[-1] if refused else overflow from None
        if reply.usage:
            self._compactor.report(sum(reply.usage.get(kind, 0) for kind in INPUT_KINDS))
        return reply

    def _overhead(self) -> int:
        """About how many tokens a request has beside its messages, until the provider says it."""
        beside = [self._settings.system_prompt or "", self._tools]
        return payload_characters(beside) // CHARACTERS_PER_TOKEN

    async def _put(
        self, messages: Sequence[Message], tell: Tell | None, *, previous: str | None = None
    ) -> Reply:
        question = Question(
            messages=messages,
            previous=previous,
            model=self.model,
            system_prompt=self._settings.system_prompt,
            tools=self._tools,
            provider_options=self._settings.provider_options or {},
        )
        return await answered(self._api, question, tell)

    async def _summarise(self, messages: list[Message], previous: str | None) -> str:
        """A summary by the agent's own model, which is no part of the conversation."""
        question = Question(
            messages=[text_message("user", summary_prompt(messages, previous))],
            model=self.model,
            provider_options={
                name: value
                for name, value in (self._settings.provider_options or {}).items()
                if name != "tool_choice"  # there are no tools here
            },
        )
        reply = await answered(self._api, question)
        await self.record_usage(reply)
        return reply.text

    async def _transcript(self) -> Transcript:
        """With everything that this run has recorded so far."""
        await self._context.flush()
        return await read_transcript(self._context.session, self._compactor.transcript)

    async def record_usage(self, reply: Reply) -> None:
        """Tell of the tokens of an answer, and of their price if there is a table of prices."""
        if not reply.usage:
            return
        usage: dict[str, Any] = {
            kind: number
            for kind, number in reply.usage.items()
            if number or kind in ("input_tokens", "output_tokens")
        }
        cost = cost_usd(self._parts.prices, reply.model or self.model, reply.usage)
        if cost is not None:
            usage["cost_usd"] = cost
        await self._emit("token_usage_updated", usage)
