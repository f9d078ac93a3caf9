from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.copilot.session_failures import failure_of_call, failure_of_error


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ({"message": "no", "statusCode": 401}, "provider_authentication", 401),
        ({"message": "no", "statusCode": 429, "errorType": "x"}, "provider_rate_limited", 429),
        ({"message": "no", "errorType": "authentication"}, "provider_authentication", None),
        ({"message": "no", "errorType": "quota"}, "provider_rate_limited", None),
        ({"message": "no", "errorType": "context_limit"}, "context_overflow", None),
        (
            {"message": "No GitHub OAuth token or key", "errorType": "query"},
            "provider_not_configured",
            None,
        ),
        ({"message": "error sending request", "errorType": "query"}, "connection_lost", None),
        ({"message": "maximum context reached"}, "context_overflow", None),
        ({"message": "who knows"}, "provider_unavailable", None),
        ({}, "provider_unavailable", None),
    ],
)
def test_an_error_is_told_in_our_words(error: Any, code: str, status: Any) -> None:
    failure = failure_of_error(error, stderr="last words")

    assert (failure.code, failure.status) == (code, status)
    assert str(failure).startswith("copilot: ")
    assert (failure.provider, failure.stderr) == ("copilot", "last words")


def test_a_failed_call_of_the_model_is_told_likewise() -> None:
    failure = failure_of_call({"statusCode": 503, "errorMessage": "overloaded"})

    assert (failure.code, str(failure)) == ("provider_overloaded", "copilot: overloaded")
    assert failure_of_call({}).code == "provider_unavailable"
