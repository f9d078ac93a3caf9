"""Agents of providers by name, loaded when they are asked for: each is an extra."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import InvalidArgument, MoorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime import Agent


@attrs.frozen(kw_only=True)
class Provider:
    """Where an agent's class is, what it needs of what is not Moorage's, and what its name may be
    followed by: ``rest`` is the name of that argument, or None.

    One of ``packages`` must be installed, or ``program`` be on PATH, or ``variable`` say where it
    is.
    """

    subpackage: str
    agent: str
    packages: tuple[str, ...] = ()
    program: str | None = None
    variable: str | None = None
    extra: str | None = None
    rest: str | None = None


PROVIDERS: Mapping[str, Provider] = {
    "claude": Provider(
        subpackage="claude_code",
        agent="ClaudeAgent",
        packages=("claude_agent_sdk",),
        extra="claude",
    ),
    "codex": Provider(
        subpackage="codex",
        agent="CodexAgent",
        packages=("codex_cli_bin",),
        program="codex",
        extra="codex",
    ),
    "copilot": Provider(
        subpackage="copilot", agent="CopilotAgent", program="copilot", variable="MOORAGE_COPILOT"
    ),
    "pi": Provider(subpackage="pi", agent="PiAgent", program="pi", variable="MOORAGE_PI"),
    "amp": Provider(subpackage="amp", agent="AmpAgent", program="amp", variable="MOORAGE_AMP"),
    "acp": Provider(subpackage="acp", agent="AcpAgent", rest="command"),
    "anthropic": Provider(
        subpackage="anthropic_api",
        agent="AnthropicAgent",
        packages=("anthropic",),
        extra="anthropic",
        rest="model",
    ),
    "openai": Provider(
        subpackage="openai_api",
        agent="OpenAIAgent",
        packages=("openai",),
        extra="openai",
        rest="model",
    ),
}

PROVIDER_FORMS = (
    "claude, codex, copilot, pi, amp, acp:COMMAND (any program that speaks the Agent Client "
    "Protocol), anthropic[:MODEL], openai[:MODEL]"
)


def provider_agent(name: str, rest: str, options: Mapping[str, Any] | None = None) -> Agent:
    """The agent of a provider; ``rest`` is what stands behind the name's colon, or "", and
    ``options`` are further arguments of its class.

    Raises InvalidArgument, with the remedy, for what the name may not be followed by and for a
    package or program that is missing.
    """
    provider = PROVIDERS[name]
    rest = rest.strip()
    if rest and provider.rest is None:
        raise InvalidArgument(f"{name} is followed by nothing, not {rest!r}: --model names a model")
    arguments = dict(options or {})
    if provider.rest == "command":
        arguments["command"] = _command(name, rest)
    elif rest:
        if "model" in arguments:
            raise InvalidArgument(f"{name}:{rest} names the model, and so do the options")
        arguments["model"] = rest
    made = provider_class(name)
    try:
        agent: Agent = made(**arguments)
    except (ImportError, MoorageError) as error:
        raise InvalidArgument(f"the agent {name} cannot be had: {error}") from error
    return agent


def provider_class(name: str) -> type[Any]:
    """The class of a provider's agent. Raises InvalidArgument, with the remedy, for a package or
    program that is missing."""
    provider = PROVIDERS[name]
    _require(name, provider)
    try:
        module = importlib.import_module(f"moorage.adapters.agents.{provider.subpackage}.agent")
    except (ImportError, MoorageError) as error:
        raise InvalidArgument(f"the agent {name} cannot be had: {error}") from error
    found: type[Any] = getattr(module, provider.agent)
    return found


def _command(name: str, text: str) -> list[str]:
    if not text:
        raise InvalidArgument(f"{name} needs a command: {name}:COMMAND")
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"the command {text!r} cannot be split: {error}") from error
    if not command or shutil.which(command[0]) is None:
        program = command[0] if command else text
        raise InvalidArgument(
            f"there is no program {program!r} on PATH: install it, or give its path"
        )
    return command


def _require(name: str, provider: Provider) -> None:
    """Raise InvalidArgument unless there is what the agent stands on."""
    if any(find_spec(package) is not None for package in provider.packages):
        return
    if provider.program is not None and shutil.which(provider.program) is not None:
        return
    if provider.variable is not None and os.environ.get(provider.variable):
        return  # the agent itself says what is wrong with it
    if not provider.packages and provider.program is None:
        return
    ways = []
    if provider.extra is not None:
        ways.append(f"pip install 'moorage[{provider.extra}]'")
    if provider.program is not None:
        way = f"put the program {provider.program} on PATH"
        ways.append(f"{way} or its path into {provider.variable}" if provider.variable else way)
    missing = " or ".join([*provider.packages, *filter(None, [provider.program])])
    raise InvalidArgument(f"the agent {name} needs {missing}: {', or '.join(ways)}")
