from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.openai_api.stream_errors import stream_failure, unreadable
from moorage.adapters.agents.provider.failures import (
    AuthenticationFailed,
    ContextOverflow,
    Overloaded,
    ProtocolViolated,
    ProviderUnavailable,
    RateLimited,
    RequestInvalid,
)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"code": "rate_limit_exceeded", "message": "slow"}, RateLimited),
        ({"code": "context_length_exceeded", "message": "long"}, ContextOverflow),
        ({"type": "server_error", "code": None, "message": "oh"}, ProviderUnavailable),
        ({"code": "insufficient_quota", "message": "no credit"}, AuthenticationFailed),
        ({"code": "slow_down", "message": "busy"}, Overloaded),
        ({"code": 400, "message": "what"}, RequestInvalid),
        ({"code": "unheard_of", "message": "what"}, ProtocolViolated),
        ("only words", ProtocolViolated),
        (None, ProtocolViolated),
    ],
)
def test_an_error_object_is_the_failure_that_its_code_stands_for(
    error: Any, failure: type[Exception]
) -> None:
    found = stream_failure(error)

    assert type(found) is failure
    assert found.provider == "openai"


def test_an_unreadable_event_is_quoted() -> None:
    assert "{'odd': 1}" in str(unreadable({"odd": 1}, KeyError("type")))
