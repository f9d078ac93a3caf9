from __future__ import annotations

import pytest
from moorage.adapters.agents.provider.failure_texts import failure_of_text

CASES = (
    ("401 bad key", "provider_authentication", 401),
    ("429 slow down", "provider_rate_limited", 429),
    ('529 {"type":"error"}', "provider_overloaded", 529),
    ("500 internal error", "provider_unavailable", 500),
    ("400 prompt is too long: 9 > 8", "context_overflow", 400),
    ("Request failed with status code 503", "provider_unavailable", 503),
    ("Internal error: bad api key", "provider_authentication", None),
    ("You have hit a rate limit", "provider_rate_limited", None),
    ("Connection error.", "connection_lost", None),
    ("terminated", "connection_lost", None),
    ("Request timed out", "provider_timeout", None),
    ("The model is overloaded", "provider_overloaded", None),
    ("the maximum context length is 8", "context_overflow", None),
    ("something odd in 4010 places", "provider_unavailable", None),
    ("", "provider_unavailable", None),
)


@pytest.mark.parametrize(("text", "code", "status"), CASES)
def test_a_text_stands_for_a_failure_of_the_taxonomy(
    text: str, code: str, status: int | None
) -> None:
    failure = failure_of_text("pi", text)

    assert (failure.code, failure.status, failure.provider) == (code, status, "pi")


def test_the_message_names_the_provider_and_keeps_the_text() -> None:
    assert str(failure_of_text("pi", "odd")) == "pi failed: odd"
    assert str(failure_of_text("pi", "401 bad key")) == "pi answered 401: bad key"
