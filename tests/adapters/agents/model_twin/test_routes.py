from __future__ import annotations

import pytest
from moorage.adapters.agents.model_twin import ModelTwin


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1"])
@pytest.mark.parametrize("path", ["/messages", "/responses", "/chat/completions"])
async def test_every_dialect_is_there_with_and_without_the_version(ask, prefix, path):
    async with ModelTwin(["one"]).serving() as twin:
        answer = await ask(twin, f"{prefix}{path}?beta=true", {"model": "m", "input": "hi"})

    assert answer.status == 200
    assert b"one" in answer.body
    assert (twin.requests[0].path, twin.requests[0].query) == (f"{prefix}{path}", "beta=true")


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models?limit=20"])
async def test_models_are_listed_for_clients_of_both_providers(ask, path):
    async with ModelTwin(models=("small", "large")).serving() as twin:
        answer = await ask(twin, path, method="GET")

    assert [model["id"] for model in answer.json["data"]] == ["small", "large"]
    assert answer.json["has_more"] is False
    assert twin.background_requests[0].status == 200


async def test_a_single_model_can_be_looked_up(ask):
    async with ModelTwin().serving() as twin:
        answer = await ask(twin, "/v1/models/any", method="GET")

    assert (answer.json["id"], answer.json["object"]) == ("any", "model")


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/responses/input_tokens"])
async def test_tokens_are_counted_by_length_without_the_script(ask, path):
    async with ModelTwin().serving() as twin:
        short = await ask(twin, path, b"x" * 40)
        long = await ask(twin, path, b"x" * 400)

    assert (short.json["input_tokens"], long.json["input_tokens"]) == (10, 100)


@pytest.mark.parametrize("path", ["/", "/api/hello"])
async def test_somebody_is_there(ask, path):
    async with ModelTwin().serving() as twin:
        answers = [await ask(twin, path, method=method) for method in ("GET", "HEAD", "OPTIONS")]

    assert [answer.status for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/nothing"), ("GET", "/v1/messages"), ("DELETE", "/v1/models")]
)
async def test_what_is_not_there_is_told_and_recorded(ask, method, path):
    async with ModelTwin(["one"]).serving() as twin:
        answer = await ask(twin, path, method=method)

    assert answer.status == 404
    assert f"{method} {path}" in answer.json["error"]["message"]
    assert [request.path for request in twin.background_requests] == [path]
    assert twin.requests == []
