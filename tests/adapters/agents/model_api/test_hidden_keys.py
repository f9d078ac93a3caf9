from __future__ import annotations

import pytest
from moorage.adapters.agents.model_api.hidden_keys import without_keys


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "sk-secret"},
        {"api-key": "sk-secret"},
        {"authorization": "Bearer sk-secret", "x-api-key": "other-key"},
    ],
)
def test_a_key_that_a_provider_repeats_is_left_out(headers: dict[str, str]) -> None:
    assert without_keys("no sk-secret, no", headers) == "no [key], no"


def test_a_message_without_a_key_is_left_alone() -> None:
    assert without_keys("no key", {"x-api-key": "key"}) == "no key"
    assert without_keys("no key", {}) == "no key"
