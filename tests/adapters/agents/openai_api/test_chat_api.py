from __future__ import annotations

import openai
import pytest
from moorage.adapters.agents.model_api.answering import Question, answered
from moorage.adapters.agents.model_twin import HttpError, ModelTwin, Text
from moorage.adapters.agents.openai_api.chat_api import ChatApi
from moorage.adapters.agents.provider.failures import RequestInvalid
from moorage.runtime.messages import text_message

QUESTION = Question(messages=[text_message("user", "Hello")], model="gpt-test")
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}


def api(url: str = "http://127.0.0.1:1", max_tokens: int | None = None) -> ChatApi:
    client = openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
    return ChatApi(client=client, max_tokens=max_tokens, stall_seconds=5)


def test_a_request_has_what_the_question_says() -> None:
    question = Question(
        messages=QUESTION.messages,
        model="gpt-test",
        system_prompt="Be brief.",
        tools=[TOOL],
        provider_options={"temperature": 0},
    )

    assert api(max_tokens=50).params(question) == {
        "model": "gpt-test",
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "add",
                    "description": "Adds.",
                    "parameters": {"type": "object"},
                },
            }
        ],
        "extra_body": {"temperature": 0},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ],
    }


def test_what_is_not_said_is_left_out() -> None:
    assert set(api().params(QUESTION)) == {"model", "stream", "stream_options", "messages"}


async def test_bytes_come_as_the_provider_sends_them(leaves_nothing: None) -> None:
    async with ModelTwin([Text("Hi there")]).serving() as twin:
        asked = api(twin.url)
        async with asked.client:
            reply = await answered(asked, QUESTION)

    assert reply.text == "Hi there"
    assert reply.usage["output_tokens"] > 0


async def test_errors_of_the_sdk_come_out_as_failures() -> None:
    async with ModelTwin([HttpError(400, "no such thing")]).serving() as twin:
        asked = api(twin.url)
        async with asked.client:
            with pytest.raises(RequestInvalid, match="no such thing"):
                await answered(asked, QUESTION)
