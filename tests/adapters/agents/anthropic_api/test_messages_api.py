from __future__ import annotations

import anthropic
import pytest
from moorage.adapters.agents.anthropic_api.messages_api import MessagesApi
from moorage.adapters.agents.model_api.answering import Question, answered
from moorage.adapters.agents.model_twin import ModelTwin, Text
from moorage.adapters.agents.provider.failures import ConnectionLost
from moorage.runtime.messages import text_message

QUESTION = Question(messages=[text_message("user", "Hello")], model="claude-test")
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}


def api(url: str = "http://127.0.0.1:1", *, prompt_caching: bool = False) -> MessagesApi:
    client = anthropic.AsyncAnthropic(api_key="none", base_url=url, max_retries=0)
    return MessagesApi(client=client, max_tokens=50, prompt_caching=prompt_caching, stall_seconds=5)


def test_a_request_has_what_the_question_says() -> None:
    question = Question(
        messages=QUESTION.messages,
        model="claude-test",
        system_prompt="Be brief.",
        tools=[TOOL],
        provider_options={"top_k": 5},
    )

    assert api(prompt_caching=True).params(question) == {
        "model": "claude-test",
        "max_tokens": 50,
        "stream": True,
        "system": "Be brief.",
        "tools": [TOOL],
        "extra_body": {"top_k": 5},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
                ],
            }
        ],
    }


def test_what_is_not_said_is_left_out() -> None:
    assert set(api().params(QUESTION)) == {"model", "max_tokens", "stream", "messages"}


async def test_bytes_come_as_the_provider_sends_them(leaves_nothing: None) -> None:
    async with ModelTwin([Text("Hi there")]).serving() as twin:
        asked = api(twin.url)
        async with asked.client:
            reply = await answered(asked, QUESTION)

    assert reply.text == "Hi there"


async def test_a_stream_left_in_the_middle_leaves_nothing_open(leaves_nothing: None) -> None:
    async with ModelTwin([Text("word " * 50_000, pieces=50_000)]).serving() as twin:
        asked = api(twin.url)
        async with asked.client:
            with pytest.raises(KeyError):
                async with asked.stream(QUESTION) as chunks:
                    async for _ in chunks:
                        raise KeyError("enough")


async def test_errors_of_the_sdk_come_out_as_failures() -> None:
    asked = api()
    async with asked.client:
        with pytest.raises(ConnectionLost):
            async with asked.stream(QUESTION):
                pass
