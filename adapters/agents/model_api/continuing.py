"""What of the conversation a request carries: all of it, or what the provider does not know yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message

from ..provider.provider_sessions import (
    Native,
    choose_continuation,
    forget_handle,
    read_handle,
    report_fallback,
    save_handle,
    without_native,
)

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.transcript import Transcript

    from ..provider.failures import AgentFailure
    from ..provider.settings import AgentSettings
    from .answering import ModelApi
    from .reply import Reply


@attrs.frozen
class News:
    """``messages`` that the provider does not know, to be sent behind its answer ``previous``."""

    messages: Sequence[Message]
    previous: str


class Continuing:
    """How one run continues its session's conversation.

    An API that keeps answers (``api.keeps_answers``) is told only what is new, behind the id of the
    answer that is continued, ``previous``; that of a run's last answer is kept in the session's
    metadata.
    """

    def __init__(self, api: ModelApi, settings: AgentSettings, context: RunContext) -> None:
        self._provider = api.provider
        self._settings = settings
        self._context = context
        mode = settings.continuation or "auto"
        if mode == "native" and not api.keeps_answers:
            raise InvalidArgument(
                f"continuation must be 'auto', 'replay' or 'none', not 'native': this API of "
                f"{api.provider} keeps no conversation"
            )
        # what the provider was told to forget can only be replayed
        stored = (settings.provider_options or {}).get("store") is not False
        self.is_native = api.keeps_answers and mode in ("auto", "native") and stored
        self.previous: str | None = None
        self._begun = False

    async def news(self, transcript: Transcript) -> News | None:
        """What to send behind the provider's own answer, or None to send the conversation.

        Only for one that ``is_native``. ``transcript`` has to be current. Raises ContinuationLost
        if there has to be an answer and is none.
        """
        run_id = self._context.run_id
        own = self.own(transcript.context(run_id))
        if self.previous is not None:
            return News(_behind_answer(own), self.previous)
        if self._begun:
            return None
        self._begun = True
        handle = await read_handle(self._context, self._provider)
        choice = choose_continuation(
            self._settings, handle, transcript, provider=self._provider, run_id=run_id
        )
        if isinstance(choice, Native):
            self.previous = choice.handle.id
            return News(own, self.previous)
        await report_fallback(self._context, choice, self._provider)
        return None

    async def lost(self, failure: AgentFailure, transcript: Transcript) -> None:
        """The provider's answer cannot be continued, so that the conversation has to be sent.

        Raises ContinuationLost if it may not.
        """
        self.previous = None
        self._begun = True
        await forget_handle(self._context, self._provider)
        choice = without_native(
            self._settings,
            transcript,
            failure.message,
            provider=self._provider,
            run_id=self._context.run_id,
        )
        await report_fallback(self._context, choice, self._provider)

    def shown(self, messages: list[Message]) -> list[Message]:
        """What of the conversation is sent: all of it, or with "none" what the run said itself."""
        return self.own(messages) if self._settings.continuation == "none" else messages

    def own(self, messages: list[Message]) -> list[Message]:
        return [message for message in messages if message.run_id == self._context.run_id]

    def answered(self, reply: Reply) -> None:
        """The provider has answered; without an original its ids are not those in the log."""
        self.previous = reply.message_id if self.is_native and reply.original else None

    async def save(self) -> None:
        """Keep for the next run where this one has ended."""
        if self.previous is not None:
            await save_handle(self._context, self._provider, self.previous)


def _behind_answer(messages: Sequence[Message]) -> list[Message]:
    """What came behind the last answer."""
    behind: list[Message] = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        behind.append(message)
    return behind[::-1]
