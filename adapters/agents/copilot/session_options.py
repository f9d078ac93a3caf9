"""What our settings are called by Copilot's server. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..provider.failures import ProviderNotConfigured

if TYPE_CHECKING:
    from ..provider.settings import AgentSettings
    from ..provider.text_prompts import TextPrompt

PROVIDER = "copilot"
PROTOCOL_VERSIONS = (3,)
"""Versions of the server's protocol that this was written for."""

_PROVIDER_TEXTS: Mapping[str, str] = {
    "COPILOT_PROVIDER_BASE_URL": "baseUrl",
    "COPILOT_PROVIDER_API_KEY": "apiKey",
    "COPILOT_PROVIDER_API_KEY_COMMAND": "apiKeyCommand",
    "COPILOT_PROVIDER_BEARER_TOKEN": "bearerToken",
    "COPILOT_PROVIDER_WIRE_API": "wireApi",
    "COPILOT_PROVIDER_TRANSPORT": "transport",
    "COPILOT_PROVIDER_MODEL_ID": "modelId",
    "COPILOT_PROVIDER_WIRE_MODEL": "wireModel",
}
_PROVIDER_NUMBERS: Mapping[str, str] = {
    "COPILOT_PROVIDER_MAX_PROMPT_TOKENS": "maxPromptTokens",
    "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS": "maxOutputTokens",
}


def session_params(
    settings: AgentSettings, environment: Mapping[str, str], instructions: str = ""
) -> dict[str, Any]:
    """Parameters that session.create and session.resume have in common.

    The system prompt, and the ``instructions`` that came with the input, go behind Copilot's own;
    ``provider_options`` are laid over the parameters under the server's own names, for instance
    ``{"systemMessage": {"mode": "replace", "content": ...}}`` or ``{"excludedTools": [...]}``.

    Raises ProviderNotConfigured for a model provider that lacks a model.
    """
    model = settings.model or environment.get("COPILOT_MODEL") or None
    said: dict[str, Any] = {
        "clientName": "moorage",
        "model": model,
        "workingDirectory": settings.working_directory,
        "provider": model_provider(environment),
        "systemMessage": None,
        "streaming": True,
        "includeSubAgentStreamingEvents": False,
        "requestPermission": True,
        "toolFilterPrecedence": "excluded",
        "envValueMode": "direct",
    }
    parts = [part for part in (settings.system_prompt, instructions) if part]
    if parts:
        said["systemMessage"] = {"mode": "append", "content": "\n\n".join(parts)}
    said.update(settings.provider_options or {})
    if said["provider"] is not None and not said["model"]:
        raise ProviderNotConfigured(
            "a model provider of one's own wants a model: give model=, or set COPILOT_MODEL",
            provider=PROVIDER,
        )
    return {name: value for name, value in said.items() if value is not None}


def model_provider(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """The model provider that Copilot's own variables name, None if it is GitHub.

    The program reads these variables for its terminal, but its server wants to be told. Raises
    ProviderNotConfigured for variables that cannot be meant.
    """
    if not environment.get("COPILOT_PROVIDER_BASE_URL"):
        if environment.get("COPILOT_OFFLINE", "").lower() == "true":
            raise ProviderNotConfigured(
                "COPILOT_OFFLINE is set and there is no model provider on this machine: set "
                "COPILOT_PROVIDER_BASE_URL",
                provider=PROVIDER,
            )
        return None
    provider: dict[str, Any] = {"type": environment.get("COPILOT_PROVIDER_TYPE") or "openai"}
    for variable, name in _PROVIDER_TEXTS.items():
        if environment.get(variable):
            provider[name] = environment[variable]
    for variable, name in _PROVIDER_NUMBERS.items():
        if environment.get(variable):
            provider[name] = _number(variable, environment[variable])
    if environment.get("COPILOT_PROVIDER_AZURE_API_VERSION"):
        provider["azure"] = {"apiVersion": environment["COPILOT_PROVIDER_AZURE_API_VERSION"]}
    if environment.get("COPILOT_PROVIDER_HEADERS"):
        provider["headers"] = _headers(environment["COPILOT_PROVIDER_HEADERS"])
    return provider


def prompt_params(prompt: TextPrompt) -> dict[str, Any]:
    """``prompt`` and ``attachments`` of a session.send."""
    params: dict[str, Any] = {"prompt": prompt.text}
    if prompt.images:
        params["attachments"] = [
            {
                "type": "blob",
                "data": base64.b64encode(image["data"]).decode("ascii"),
                "mimeType": image["media_type"],
            }
            for image in prompt.images
        ]
    return params


def check_protocol(answer: object) -> None:
    """Raise ProviderNotConfigured if the server speaks a protocol that we do not."""
    version = answer.get("protocolVersion") if isinstance(answer, Mapping) else None
    if version not in PROTOCOL_VERSIONS:
        known = ", ".join(map(str, PROTOCOL_VERSIONS))
        raise ProviderNotConfigured(
            f"this Copilot's server speaks version {version!r} of its protocol, and known are "
            f"{known}: install a @github/copilot that fits",
            provider=PROVIDER,
        )


def check_login(status: object) -> None:
    """Raise ProviderNotConfigured if GitHub is to be asked and nobody is logged in."""
    if isinstance(status, Mapping) and status.get("isAuthenticated") is False:
        raise ProviderNotConfigured(
            "nobody is logged in to Copilot: run `copilot login`, set COPILOT_GITHUB_TOKEN, or "
            "name a model provider with COPILOT_PROVIDER_BASE_URL",
            provider=PROVIDER,
        )


def _number(variable: str, value: str) -> int:
    if not value.strip().isdecimal():
        raise ProviderNotConfigured(
            f"{variable} must be a whole number of tokens, not {value!r}", provider=PROVIDER
        )
    return int(value)


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in text.replace("\\n", "\n").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return headers
