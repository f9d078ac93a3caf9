from __future__ import annotations

import pytest
from moorage.adapters.agents.model_twin import HttpError, ModelTwin

openai = pytest.importorskip("openai")


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize(
    ("error", "class_name", "code"),
    [
        (HttpError(400), "BadRequestError", None),
        (HttpError(401), "AuthenticationError", "invalid_api_key"),
        (HttpError(429), "RateLimitError", "rate_limit_exceeded"),
        (HttpError(429, kind="insufficient_quota"), "RateLimitError", "insufficient_quota"),
        (HttpError(500), "InternalServerError", "server_error"),
        (HttpError(503), "InternalServerError", "server_is_overloaded"),
        (HttpError(418), "APIStatusError", None),
    ],
)
async def test_the_sdk_raises_its_own_error_for_each_status(api, error, class_name, code):
    async with (
        ModelTwin([error]).serving() as twin,
        openai.AsyncOpenAI(base_url=f"{twin.url}/v1", api_key="k", max_retries=0) as sdk,
    ):
        with pytest.raises(getattr(openai, class_name)) as caught:
            if api == "responses":
                await sdk.responses.create(model="m", input="hi")
            else:
                await sdk.chat.completions.create(model="m", messages=[])

    assert (caught.value.status_code, caught.value.code) == (error.status, code)


async def test_a_prompt_that_is_too_long_is_said_in_the_providers_words():
    async with (
        ModelTwin([HttpError(400, kind="context_overflow")]).serving() as twin,
        openai.AsyncOpenAI(base_url=f"{twin.url}/v1", api_key="k", max_retries=0) as sdk,
    ):
        with pytest.raises(openai.BadRequestError, match="maximum context length") as caught:
            await sdk.responses.create(model="m", input="hi")

    assert caught.value.code == "context_length_exceeded"
