from __future__ import annotations

import openai
import pytest
from moorage.adapters.agents.model_api.answering import Question, answered
from moorage.adapters.agents.model_twin import HttpError, ModelTwin, Text
from moorage.adapters.agents.openai_api.responses_api import ResponsesApi
from moorage.adapters.agents.provider.failures import ContinuationLost
from moorage.runtime.messages import text_message

MESSAGES = [text_message("user", "Hello")]
QUESTION = Question(messages=MESSAGES, model="gpt-test")
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}


def api(url: str = "http://127.0.0.1:1", max_tokens: int | None = None) -> ResponsesApi:
    client = openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
    return ResponsesApi(client=client, max_tokens=max_tokens, stall_seconds=5)


def test_a_request_has_what_the_question_says() -> None:
    question = Question(
        messages=MESSAGES,
        model="gpt-test",
        system_prompt="Be brief.",
        tools=[TOOL],
        provider_options={"store": False},
        previous="resp_1",
    )

    assert api(max_tokens=50).params(question) == {
        "model": "gpt-test",
        "max_output_tokens": 50,
        "stream": True,
        "instructions": "Be brief.",
        "previous_response_id": "resp_1",
        "tools": [
            {
                "type": "function",
                "strict": False,
                "name": "add",
                "description": "Adds.",
                "parameters": {"type": "object"},
            }
        ],
        "extra_body": {"store": False},
        "input": [{"role": "user", "content": "Hello"}],
    }


def test_what_is_not_said_is_left_out() -> None:
    assert set(api().params(QUESTION)) == {"model", "stream", "input"}


async def test_bytes_come_as_the_provider_sends_them(leaves_nothing: None) -> None:
    async with ModelTwin([Text("Hi there")]).serving() as twin:
        asked = api(twin.url)
        async with asked.client:
            reply = await answered(asked, QUESTION)

    assert reply.text == "Hi there"


async def test_an_answer_that_is_gone_is_a_lost_continuation() -> None:
    gone = HttpError(404, "Previous response with id 'resp_1' not found.")
    question = Question(messages=MESSAGES, model="gpt-test", previous="resp_1")
    async with ModelTwin([gone]).serving() as twin:
        asked = api(twin.url)
        async with asked.client:
            with pytest.raises(ContinuationLost, match="resp_1"):
                await answered(asked, question)
