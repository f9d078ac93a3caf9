"""What our settings are called by Codex's app server. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..provider.failures import ProviderNotConfigured
from ..provider.permissions import provider_permissions

if TYPE_CHECKING:
    from ..provider.settings import AgentSettings
    from ..provider.text_prompts import TextPrompt

PROVIDER = "codex"
CLIENT = {"name": "moorage", "title": "Moorage", "version": "0"}
"""How we introduce ourselves; Codex asks for a version and does nothing with it."""


def thread_params(settings: AgentSettings, instructions: str = "") -> dict[str, Any]:
    """Parameters that thread/start and thread/resume have in common.

    The system prompt, and the ``instructions`` that came with the input, go behind Codex's own,
    which teach the model its tools;
    ``provider_options`` are overrides of Codex's configuration, under the names of config.toml
    (``{"base_instructions": ...}`` replaces its own instructions, for instance).
    """
    permissions = provider_permissions(settings.permission_mode or "default", PROVIDER)
    said = {
        "model": settings.model,
        "cwd": settings.working_directory,
        "developerInstructions": joined(settings.system_prompt, instructions),
        "config": dict(settings.provider_options) if settings.provider_options else None,
        "approvalPolicy": permissions["approval_policy"],
        "sandbox": permissions["sandbox"],
    }
    return {name: value for name, value in said.items() if value is not None}


def joined(*parts: str | None) -> str | None:
    """The parts that say something, in paragraphs; None if none does."""
    return "\n\n".join(part for part in parts if part) or None


def prompt_input(prompt: TextPrompt) -> list[dict[str, Any]]:
    """Codex's input for a prompt: its text, then its images as data URLs."""
    input: list[dict[str, Any]] = []
    if prompt.text:
        input.append({"type": "text", "text": prompt.text, "text_elements": []})
    for image in prompt.images:
        data = base64.b64encode(image["data"]).decode("ascii")
        input.append({"type": "image", "url": f"data:{image['media_type']};base64,{data}"})
    return input


def check_key(settings: AgentSettings, environment: Mapping[str, str]) -> None:
    """Raise ProviderNotConfigured if the model provider that ``provider_options`` choose wants a
    key from a variable that is not set."""
    options = settings.provider_options or {}
    name = options.get("model_provider")
    providers = options.get("model_providers")
    chosen = providers.get(name) if isinstance(providers, Mapping) else None
    variable = chosen.get("env_key") if isinstance(chosen, Mapping) else None
    if isinstance(variable, str) and not environment.get(variable):
        raise ProviderNotConfigured(
            f"the model provider {name!r} wants its key in the variable {variable}, which is not "
            "set: set it, or give environment= to the agent",
            provider=PROVIDER,
        )


def check_account(account: object, model_provider: object) -> None:
    """Raise ProviderNotConfigured if OpenAI itself is to be asked and nobody is logged in.

    ``account`` is the answer to account/read, ``model_provider`` that of the thread.
    """
    if not isinstance(account, Mapping) or account.get("account") is not None:
        return
    if account.get("requiresOpenaiAuth") is True and model_provider == "openai":
        raise ProviderNotConfigured(
            "nobody is logged in to Codex: run `codex login` (or `codex login --with-api-key`), or "
            "name a model provider with a key of its own in provider_options",
            provider=PROVIDER,
        )
