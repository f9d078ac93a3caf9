"""What a client needs to talk to a ModelTwin: variables, and files where those do not do.

Seen to work: the anthropic and openai SDKs, Claude Code 2.1, Codex 0.163, Copilot 1.0, pi 0.74
and OpenCode 1.18.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

KEY = "twin-key"
"""Clients want one; the twin takes any."""

RETRIES = 1
"""How often command lines that can be told so ask again after an error. By default they do that for
many seconds (Codex 30 times), and a test would not see what becomes of an error in the end."""

PI_RETRY = {"maxRetries": RETRIES, "baseDelayMs": 100, "provider": {"maxRetries": 0}}

CODEX_MARK = "# written by a ModelTwin, which overwrites this file"
CODEX_CONFIG = """{mark}
model = {model}
model_provider = "twin"

[model_providers.twin]
name = "twin"
base_url = {base_url}
wire_api = "responses"
env_key = "TWIN_API_KEY"
request_max_retries = {retries}
stream_max_retries = {retries}
"""

LOCAL = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
"""A proxy in the environment would be asked for 127.0.0.1 too, and would not have it."""


@attrs.frozen
class Client:
    """How one kind of client is told.

    ``variables(url, model)``; the variable that names its directory; the model it asks for unless
    told otherwise (empty: its own default); and ``write(directory, url, model)`` for the files
    without which it cannot be told.
    """

    variables: Callable[[str, str], dict[str, str]]
    directory_variable: str | None = None
    model: str = "twin"
    write: Callable[[Path, str, str], None] | None = None


def _anthropic(url: str, model: str) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}


def _openai(url: str, model: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY}


def _claude(url: str, model: str) -> dict[str, str]:
    return {
        **_anthropic(url, model),
        **({"ANTHROPIC_MODEL": model} if model else {}),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(RETRIES),
        "DISABLE_AUTOUPDATER": "1",
    }


def _codex(url: str, model: str) -> dict[str, str]:
    return {"TWIN_API_KEY": KEY}


def _copilot(url: str, model: str) -> dict[str, str]:
    return {
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_API_KEY": KEY,
        "COPILOT_MODEL": model,
    }


def _pi(url: str, model: str) -> dict[str, str]:
    return {"PI_OFFLINE": "1"}


def _opencode(url: str, model: str) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "twin",
        "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
        "models": {model: {"name": model, "tool_call": True}},
    }
    settings = {
        "provider": {"twin": provider},
        "model": f"twin/{model}",
        "small_model": f"twin/{model}",
        "autoupdate": False,
        "share": "disabled",
        "permission": {"bash": "ask", "edit": "ask"},
    }
    switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    return {
        "OPENCODE_CONFIG_CONTENT": json.dumps(settings),
        **{f"OPENCODE_DISABLE_{name}": "1" for name in switches},
    }


def _write_codex(directory: Path, url: str, model: str) -> None:
    path = directory / "config.toml"
    if path.exists() and not path.read_text("utf-8").startswith(CODEX_MARK):
        raise InvalidArgument(
            f"directory has a {path.name} that no ModelTwin wrote: give another directory, "
            "which becomes CODEX_HOME"
        )
    # a JSON string is a TOML string too
    config = CODEX_CONFIG.format(
        mark=CODEX_MARK,
        model=json.dumps(model),
        base_url=json.dumps(f"{url}/v1"),
        retries=RETRIES,
    )
    path.write_text(config, "utf-8")


def _write_pi(directory: Path, url: str, model: str) -> None:
    models = [{"id": model, "contextWindow": 200_000, "maxTokens": 32_000}]
    entries = {
        "twin": {"baseUrl": f"{url}/v1", "api": "openai-completions"},
        "twin-responses": {"baseUrl": f"{url}/v1", "api": "openai-responses"},
        "twin-messages": {"baseUrl": url, "api": "anthropic-messages"},
    }
    known = _json(directory / "models.json")
    providers = {
        name: {**entry, "apiKey": KEY, "models": models} for name, entry in entries.items()
    }
    known["providers"] = {**known.get("providers", {}), **providers}
    settings = _json(directory / "settings.json")
    settings |= {"defaultProvider": "twin", "defaultModel": model}
    settings.setdefault("retry", PI_RETRY)
    (directory / "models.json").write_text(json.dumps(known, indent=2), "utf-8")
    (directory / "settings.json").write_text(json.dumps(settings, indent=2), "utf-8")


def _json(path: Path) -> dict[str, Any]:
    """The map in a file, empty if there is no file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidArgument(f"directory has a {path.name} that is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"directory has a {path.name} that is no map: give another directory")
    return found


CLIENTS: Mapping[str, Client] = {
    "anthropic": Client(_anthropic),
    "openai": Client(_openai),
    "claude": Client(_claude, "CLAUDE_CONFIG_DIR", model=""),
    "codex": Client(_codex, "CODEX_HOME", model="gpt-5.5", write=_write_codex),
    "copilot": Client(_copilot, "COPILOT_HOME"),
    "pi": Client(_pi, "PI_CODING_AGENT_DIR", write=_write_pi),
    "opencode": Client(_opencode, "XDG_DATA_HOME"),
}
"""A model that Claude Code or Codex does not know makes them warn and guess its limits; Claude Code
has a default of its own."""


def environment(kind: str, url: str, model: str | None = None) -> dict[str, str]:
    """The variables that point a client of ``kind`` to ``url``.

    Raises InvalidArgument for an unknown kind, and for one that needs files ("codex", "pi").
    """
    client = _client(kind)
    if client.write is not None:
        raise InvalidArgument(
            f"kind {kind!r} cannot be told by variables alone: "
            f"use configure({kind!r}, directory), which writes its files"
        )
    return {**client.variables(url, model or client.model), **LOCAL}


def configure(kind: str, url: str, directory: Path, model: str | None = None) -> dict[str, str]:
    """Write what a client of ``kind`` needs into ``directory`` (made if it is not there) and
    return the variables that point it to that and to ``url``.

    Entries of others in JSON files stay. Raises InvalidArgument for an unknown kind and for files
    that are not a twin's to write; then nothing was written.
    """
    client = _client(kind)
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    model = model or client.model
    if client.write is not None:
        client.write(directory, url, model)
    named = {client.directory_variable: str(directory)} if client.directory_variable else {}
    return {**client.variables(url, model), **named, **LOCAL}


def _client(kind: str) -> Client:
    if kind not in CLIENTS:
        raise InvalidArgument(f"kind must be one of {', '.join(CLIENTS)}, not {kind!r}")
    return CLIENTS[kind]
