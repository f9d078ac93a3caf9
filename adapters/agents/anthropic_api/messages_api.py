"""The Messages API through the official SDK."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import attrs

from ..model_api.answering import read_to_the_end
from .failures import SDK_ERRORS, failure_of
from .mapping import PROVIDER, MessageStream
from .requests import message_params, system_text, tool_params

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..model_api.answering import Question


@attrs.frozen(kw_only=True)
class MessagesApi:
    """See ModelApi. ``max_tokens`` is sent with every request; ``stall_seconds`` is what the
    client's timeout was set to."""

    client: anthropic.AsyncAnthropic
    max_tokens: int
    prompt_caching: bool
    stall_seconds: float
    provider: str = PROVIDER
    keeps_answers: bool = False

    def decoder(self) -> MessageStream:
        return MessageStream()

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
        create = self.client.messages.with_streaming_response.create
        try:
            # The SDK makes the request and follows its rules for retries. Its own event objects
            # cost more than all that is done with them here, so the bytes are taken.
            async with (
                create(**self.params(question)) as response,
                read_to_the_end(response.iter_bytes()) as chunks,
            ):
                yield chunks
        except SDK_ERRORS as error:
            raise failure_of(error, stall_seconds=self.stall_seconds) from error

    def params(self, question: Question) -> dict[str, Any]:
        """Arguments of the SDK's ``messages.create``."""
        params: dict[str, Any] = {
            "model": question.model,
            "max_tokens": self.max_tokens,
            "messages": message_params(question.messages, prompt_caching=self.prompt_caching),
            "stream": True,
        }
        if system := system_text(question.messages, question.system_prompt):
            params["system"] = system
        if question.tools:
            params["tools"] = tool_params(question.tools)
        if question.provider_options:
            params["extra_body"] = dict(question.provider_options)
        return params
