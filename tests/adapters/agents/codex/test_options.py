from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.codex.options import (
    check_account,
    check_key,
    joined,
    prompt_input,
    thread_params,
)
from moorage.adapters.agents.provider.failures import ProviderNotConfigured
from moorage.adapters.agents.provider.permissions import PERMISSION_TABLE
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.adapters.agents.provider.text_prompts import TextPrompt


@pytest.mark.parametrize("mode", PERMISSION_TABLE)
def test_each_permission_mode_has_a_policy_and_a_sandbox(mode: Any) -> None:
    params = thread_params(AgentSettings(permission_mode=mode))

    row = PERMISSION_TABLE[mode]["codex"]
    assert params == {"approvalPolicy": row["approval_policy"], "sandbox": row["sandbox"]}


def test_what_is_not_said_is_not_sent() -> None:
    assert set(thread_params(AgentSettings())) == {"approvalPolicy", "sandbox"}


def test_a_prompt_is_text_and_images() -> None:
    image = {"type": "image", "media_type": "image/png", "data": b"\x00"}

    assert prompt_input(TextPrompt("Look", (image,))) == [
        {"type": "text", "text": "Look", "text_elements": []},
        {"type": "image", "url": "data:image/png;base64,AA=="},
    ]
    assert [part["type"] for part in prompt_input(TextPrompt("", (image,)))] == ["image"]


def test_parts_are_joined_into_paragraphs() -> None:
    assert (joined("a", None, "", "b"), joined(None, "")) == ("a\n\nb", None)


OWN = {"model_provider": "own", "model_providers": {"own": {"env_key": "OWN_KEY"}}}


@pytest.mark.parametrize("environment", [{}, {"OWN_KEY": ""}])
def test_a_key_that_is_missing_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ProviderNotConfigured, match="OWN_KEY"):
        check_key(AgentSettings(provider_options=OWN), environment)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (None, {}),
        (OWN, {"OWN_KEY": "k"}),
        ({"model_provider": "own"}, {}),
        ({"model_provider": "own", "model_providers": {"own": {}}}, {}),
    ],
)
def test_a_key_that_is_there_or_not_wanted_is_fine(options: Any, environment: Any) -> None:
    check_key(AgentSettings(provider_options=options), environment)


def test_nobody_logged_in_is_refused_where_openai_is_asked() -> None:
    nobody = {"account": None, "requiresOpenaiAuth": True}

    with pytest.raises(ProviderNotConfigured, match="codex login"):
        check_account(nobody, "openai")
    check_account(nobody, "own")


@pytest.mark.parametrize(
    "account",
    [{"account": {"type": "apiKey"}, "requiresOpenaiAuth": True}, {"account": None}, None],
)
def test_other_accounts_are_fine(account: Any) -> None:
    check_account(account, "openai")
