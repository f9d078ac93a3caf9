from __future__ import annotations

import ssl
from typing import Any

import anthropic
import pytest
from moorage.adapters.agents.anthropic_api.agent import AnthropicAgent
from moorage.adapters.agents.anthropic_api.failures import failure_of
from moorage.adapters.agents.model_twin import Cut, Garbage, HttpError, ModelTwin, Stall, Text
from moorage.adapters.agents.provider.failures import (
    AuthenticationFailed,
    ConnectionLost,
    ContextOverflow,
    Overloaded,
    ProtocolViolated,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)
from moorage.adapters.agents.recording import RecordingContext, execute


async def failed(said: Any, **options: Any) -> tuple[Any, RecordingContext, int]:
    """How a run fails whose every request is answered so, and how many requests there were."""
    context = RecordingContext()
    async with ModelTwin(lambda request: said).serving() as twin:
        options = {"retries_max": 0, "stall_seconds_max": 0.1} | options
        environment = twin.environment("anthropic")
        agent = AnthropicAgent(model="claude-test", environment=environment, **options)
        ended = await execute(agent, context.request("Hello"), context)
        return ended.error, context, len(twin.requests)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (HttpError(400, "what?"), RequestInvalid),
        (HttpError(401), AuthenticationFailed),
        (HttpError(403), AuthenticationFailed),
        (HttpError(404), RequestInvalid),
        (HttpError(400, kind="context_overflow"), ContextOverflow),
        (HttpError(429), RateLimited),
        (HttpError(500), ProviderUnavailable),
        (HttpError(529), Overloaded),
        (HttpError(500, body=b"<html>"), ProviderUnavailable),
        (Cut(), ConnectionLost),
        (Garbage(), ConnectionLost),
        ([Text("So far"), Cut()], ConnectionLost),
        ([Text("So far"), Cut(reset=False)], ConnectionLost),
        ([Text("So far"), Garbage(b"data: {oops\n\n")], ProtocolViolated),
        ([Text("So far"), HttpError(529)], Overloaded),
        (Stall(), ProviderTimeout),
        ([Text("So far"), Stall()], ProviderTimeout),
    ],
)
async def test_each_failure_is_one_of_the_taxonomy(
    said: Any, kind: type[Exception], leaves_nothing: None
) -> None:
    error, context, requests = await failed(said)

    assert type(error) is kind, error
    assert error.provider == "anthropic"
    assert requests == 1
    (event,) = [event.data for event in context.events if event.type == "error_occurred"]
    assert event == error.event()
    if isinstance(said, list):
        assert context.deltas() == "So far"


async def test_what_the_provider_says_and_when_to_ask_again_is_in_the_failure() -> None:
    error, _, _ = await failed(HttpError(429, "too many words", retry_after=7))

    assert error.status == 429
    assert error.retry_after_seconds == 7
    assert "too many words" in str(error)


async def test_the_sdk_asks_again_as_often_as_it_is_told() -> None:
    error, _, requests = await failed(HttpError(529, retry_after=0.01), retries_max=2)

    assert isinstance(error, Overloaded)
    assert requests == 3


async def test_nobody_listening_is_a_lost_connection() -> None:
    context = RecordingContext()
    async with ModelTwin([]).serving() as twin:
        environment = twin.environment("anthropic")
    agent = AnthropicAgent(model="m", environment=environment, retries_max=0)

    ended = await execute(agent, context.request("Hello"), context)

    assert isinstance(ended.error, ConnectionLost)
    assert "127.0.0.1" in str(ended.error)


def test_what_the_sdk_says_otherwise_is_a_violated_protocol() -> None:
    error = failure_of(anthropic.AnthropicError("odd"), stall_seconds=1)

    assert isinstance(error, ProtocolViolated)
    assert "odd" in str(error)


def test_a_broken_encryption_is_a_lost_connection() -> None:
    assert isinstance(failure_of(ssl.SSLError("bad"), stall_seconds=1), ConnectionLost)
