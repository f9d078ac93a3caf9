from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.claude_code.failures import (
    error_text,
    failure_of_error,
    failure_of_result,
    failure_of_retry,
)


def failed(**fields: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": True, **fields}


def error(kind: str, text: str = "") -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"type": "assistant", "error": kind, "message": {"content": content}}


@pytest.mark.parametrize(
    ("result", "told", "code"),
    [
        (failed(subtype="error_max_turns", num_turns=3), None, "turns_exceeded"),
        (failed(terminal_reason="prompt_too_long", result="too long"), None, "context_overflow"),
        (failed(api_error_status=401), None, "provider_authentication"),
        (failed(api_error_status=429), None, "provider_rate_limited"),
        (failed(api_error_status=529), None, "provider_overloaded"),
        (failed(api_error_status=500), None, "provider_unavailable"),
        (failed(result="API Error: Request rejected (429) · x"), None, "provider_rate_limited"),
        (failed(result="API Error: 500 x"), None, "provider_unavailable"),
        (failed(result="Not logged in"), "authentication_failed", "provider_authentication"),
        (failed(result="no money"), "billing_error", "provider_authentication"),
        (failed(result="which model?"), "model_not_found", "request_invalid"),
        (failed(result="a new word"), "word_of_the_future", "provider_unavailable"),
        (failed(result="API Error: Connection error."), "unknown", "connection_lost"),
        (failed(result="Request timed out"), "unknown", "provider_timeout"),
        (failed(errors=["No conversation found with session ID: x"]), None, "continuation_lost"),
        (failed(subtype="error_max_budget_usd"), None, "request_invalid"),
        (failed(subtype="error_during_execution"), None, "provider_unavailable"),
    ],
)
def test_a_failed_result_is_a_failure_of_the_taxonomy(
    result: dict[str, Any], told: str | None, code: str
) -> None:
    failure = failure_of_result(result, None if told is None else error(told))

    assert failure is not None
    assert failure.code == code
    assert failure.provider == "claude"


def test_a_good_result_is_no_failure() -> None:
    assert failure_of_result({"is_error": False}, error("rate_limit")) is None


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (failed(errors=["one", 2, "three"], result="four"), "one; three"),
        (failed(errors="no list", result="four"), "four"),
        (failed(result=None), "success"),
    ],
)
def test_what_a_result_says_went_wrong(result: dict[str, Any], text: str) -> None:
    assert error_text(result) == text


def test_an_error_message_names_its_status_in_its_text() -> None:
    failure = failure_of_error(error("server_error", "API Error: 529 made up"))

    assert failure.code == "provider_overloaded"
    assert failure.status == 529


def test_a_retry_without_a_status_is_a_connection_that_could_not_be_made() -> None:
    retry = {"error_status": None, "error": "unknown", "attempt": 1, "max_retries": 2}

    failure = failure_of_retry(retry)

    assert failure.code == "provider_unavailable"
    assert "retry 1 of 2" in str(failure)
