from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.copilot.session_options import (
    check_login,
    check_protocol,
    model_provider,
    prompt_params,
    session_params,
)
from moorage.adapters.agents.provider.failures import ProviderNotConfigured
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.adapters.agents.provider.text_prompts import TextPrompt

OWN = {"COPILOT_PROVIDER_BASE_URL": "http://x/v1"}


def test_variables_of_a_model_provider_are_told_to_the_server() -> None:
    variables = {
        **OWN,
        "COPILOT_PROVIDER_TYPE": "azure",
        "COPILOT_PROVIDER_API_KEY": "k",
        "COPILOT_PROVIDER_WIRE_API": "responses",
        "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS": "100",
        "COPILOT_PROVIDER_AZURE_API_VERSION": "2024",
        "COPILOT_PROVIDER_HEADERS": "A: 1\\nB: x:y\nnonsense",
        "COPILOT_PROVIDER_BEARER_TOKEN": "",
    }

    assert model_provider(variables) == {
        "type": "azure",
        "baseUrl": "http://x/v1",
        "apiKey": "k",
        "wireApi": "responses",
        "maxOutputTokens": 100,
        "azure": {"apiVersion": "2024"},
        "headers": {"A": "1", "B": "x:y"},
    }


def test_without_them_it_is_github() -> None:
    assert model_provider({}) is None
    assert "provider" not in session_params(AgentSettings(), {})


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"COPILOT_OFFLINE": "true"}, "COPILOT_PROVIDER_BASE_URL"),
        ({**OWN, "COPILOT_PROVIDER_MAX_PROMPT_TOKENS": "many"}, "MAX_PROMPT_TOKENS"),
        (OWN, "COPILOT_MODEL"),
    ],
)
def test_variables_that_cannot_be_meant_are_refused(variables: Any, word: str) -> None:
    with pytest.raises(ProviderNotConfigured, match=word):
        session_params(AgentSettings(), variables)


def test_the_model_that_is_given_beats_the_variable() -> None:
    variables = {**OWN, "COPILOT_MODEL": "a"}

    assert session_params(AgentSettings(), variables)["model"] == "a"
    assert session_params(AgentSettings(model="b"), variables)["model"] == "b"


def test_instructions_go_behind_copilots_own_and_options_over_all() -> None:
    settings = AgentSettings(system_prompt="Be kind.", provider_options={"streaming": False})

    params = session_params(settings, {}, "Be brief.")

    assert params["systemMessage"] == {"mode": "append", "content": "Be kind.\n\nBe brief."}
    assert (params["streaming"], params["requestPermission"]) == (False, True)
    assert "systemMessage" not in session_params(AgentSettings(), {})


def test_a_prompt_is_text_and_attachments() -> None:
    image = {"type": "image", "media_type": "image/png", "data": b"\x00"}

    assert prompt_params(TextPrompt("Hi")) == {"prompt": "Hi"}
    assert prompt_params(TextPrompt("Look", (image,)))["attachments"] == [
        {"type": "blob", "data": "AA==", "mimeType": "image/png"}
    ]


@pytest.mark.parametrize("answer", [{"protocolVersion": 4}, {}, None])
def test_a_protocol_that_nobody_here_speaks_is_refused(answer: Any) -> None:
    with pytest.raises(ProviderNotConfigured, match="protocol"):
        check_protocol(answer)


def test_nobody_logged_in_is_refused() -> None:
    with pytest.raises(ProviderNotConfigured, match="copilot login"):
        check_login({"isAuthenticated": False})
    check_login({"isAuthenticated": True})
    check_login(None)
