from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.codex.turn_failures import FAILURES, failure_of_error


@pytest.mark.parametrize(
    ("message", "info", "code", "status"),
    [
        ("no", {"httpConnectionFailed": {"httpStatusCode": 401}}, "provider_authentication", 401),
        (
            "no",
            {"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
            "provider_rate_limited",
            429,
        ),
        ("no", {"responseStreamDisconnected": {"httpStatusCode": 200}}, "connection_lost", None),
        ("no", {"responseStreamDisconnected": {"httpStatusCode": None}}, "connection_lost", None),
        ("no", "internalServerError", "provider_unavailable", None),
        ("no", "contextWindowExceeded", "context_overflow", None),
        ("no", "cyberPolicy", "content_refused", None),
        ("Missing environment variable: `KEY`.", "other", "provider_not_configured", None),
        ("stream disconnected before completion", "other", "connection_lost", None),
        ('{"error": "maximum context length"}', "other", "context_overflow", None),
        ("who knows", "other", "provider_protocol", None),
        ("who knows", None, "provider_protocol", None),
        ("who knows", {"new": 1, "kind": 2}, "provider_protocol", None),
        ("who knows", {"brandNew": {}}, "provider_protocol", None),
    ],
)
def test_an_error_is_told_in_our_words(message: str, info: Any, code: str, status: Any) -> None:
    failure = failure_of_error({"message": message, "codexErrorInfo": info}, stderr="last words")

    assert (failure.code, failure.status) == (code, status)
    assert str(failure) == f"codex: {message}"
    assert (failure.provider, failure.stderr) == ("codex", "last words")


def test_details_are_told_too() -> None:
    failure = failure_of_error({"message": "Reconnecting", "additionalDetails": "reset by peer"})

    assert str(failure) == "codex: Reconnecting: reset by peer"


def test_an_error_without_a_word_has_one() -> None:
    assert "no reason" in str(failure_of_error({}))


def test_every_name_makes_a_failure() -> None:
    for name, kind in FAILURES.items():
        failure = failure_of_error({"message": "x", "codexErrorInfo": name})

        assert type(failure) is kind
        assert failure.details["codex_error"] == name
