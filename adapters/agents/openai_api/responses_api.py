"""The Responses API through the official SDK."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import openai
import openai.resources.responses.responses  # or the SDK does so in the first run

from ..model_api.answering import read_to_the_end
from .failures import SDK_ERRORS, failure_of
from .mapping import PROVIDER
from .requests import response_input, response_tools
from .responses_mapping import ResponseStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..model_api.answering import Question


@attrs.frozen(kw_only=True)
class ResponsesApi:
    """See ModelApi. ``max_tokens`` None leaves the limit to the provider."""

    client: openai.AsyncOpenAI
    max_tokens: int | None
    stall_seconds: float
    provider: str = PROVIDER
    keeps_answers: bool = True

    def decoder(self) -> ResponseStream:
        return ResponseStream()

    @asynccontextmanager
    async def stream(self, question: Question) -> AsyncIterator[AsyncIterator[bytes]]:
        create = self.client.responses.with_streaming_response.create
        try:
            async with (
                create(**self.params(question)) as response,
                read_to_the_end(response.iter_bytes()) as chunks,
            ):
                yield chunks
        except SDK_ERRORS as error:
            raise failure_of(
                error, stall_seconds=self.stall_seconds, previous=question.previous
            ) from error

    def params(self, question: Question) -> dict[str, Any]:
        """Arguments of the SDK's ``responses.create``."""
        params: dict[str, Any] = {
            "model": question.model,
            "input": response_input(question.messages),
            "stream": True,
        }
        if self.max_tokens is not None:
            params["max_output_tokens"] = self.max_tokens
        if question.previous is not None:
            params["previous_response_id"] = question.previous
        if question.system_prompt:  # not carried over from the previous response
            params["instructions"] = question.system_prompt
        if question.tools:
            params["tools"] = response_tools(question.tools)
        if question.provider_options:
            params["extra_body"] = dict(question.provider_options)
        return params
