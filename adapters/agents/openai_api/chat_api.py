"""Chat endpoints, the official one and those that are compatible, through the official SDK."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import openai
import openai.resources.chat.completions.completions  # or the SDK does so in the first run

from ..model_api.answering import read_to_the_end
from .chat_mapping import ChatStream
from .failures import SDK_ERRORS, failure_of
from .mapping import PROVIDER
from .requests import chat_messages, chat_tools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..model_api.answering import Question


@attrs.frozen(kw_only=True)
class ChatApi:
    """See ModelApi. ``max_tokens`` None leaves the limit to the provider."""

    client: openai.AsyncOpenAI
    max_tokens: int | None
    stall_seconds: float
    provider: str = PROVIDER
    keeps_answers: bool = False

    def decoder(self) -> ChatStream:
        return ChatStream()

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
        create = self.client.chat.completions.with_streaming_response.create
        try:
            async with (
                create(**self.params(question)) as response,
                read_to_the_end(response.iter_bytes()) as chunks,
            ):
                yield chunks
        except SDK_ERRORS as error:
            raise failure_of(error, stall_seconds=self.stall_seconds, previous=None) from error

    def params(self, question: Question) -> dict[str, Any]:
        """Arguments of the SDK's ``chat.completions.create``."""
        params: dict[str, Any] = {
            "model": question.model,
            "messages": chat_messages(question.messages, question.system_prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.max_tokens is not None:
            # the older name, which compatible endpoints know
            params["max_tokens"] = self.max_tokens
        if question.tools:
            params["tools"] = chat_tools(question.tools)
        if question.provider_options:
            params["extra_body"] = dict(question.provider_options)
        return params
