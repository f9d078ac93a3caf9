"""Agents by name: ``package.module:function``, ``process:COMMAND``, or that of one we have."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moorage.adapters.agents import ProcessAgent, ScriptedAgent
from moorage.runtime import InvalidArgument

from .offline_agent import offline_agent
from .provider_agents import PROVIDER_FORMS, PROVIDERS, provider_agent

if TYPE_CHECKING:
    from moorage.runtime.agents import Agents

FORMS = (
    f"{PROVIDER_FORMS}, package.module:function, process:COMMAND (a program per run, its input on "
    "standard input), scripted (works offline), or echo"
)


def load_agent(spec: str, options: Mapping[str, Any] | None = None) -> Agents:
    """The agent, or mapping of names to agents, that ``spec`` names; ``options`` are arguments for
    a provider's agent or a process.

    Modules are also looked for in the current directory. Raises InvalidArgument that says what is
    wrong; what a module raises while it is imported passes.
    """
    if spec == "echo":
        return ScriptedAgent()
    if spec == "scripted":
        return offline_agent()
    kind, colon, rest = spec.partition(":")
    if kind in PROVIDERS:
        return provider_agent(kind, rest, options)
    if not colon or not kind or not rest.strip():
        raise InvalidArgument(f"{spec!r} names no agent: it is {FORMS}")
    if kind == "process":
        return _process_agent(rest, options or {})
    return _from_module(kind, rest)


def _process_agent(command: str, options: Mapping[str, Any]) -> ProcessAgent:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidArgument(f"the command {command!r} cannot be split: {error}") from error
    return ProcessAgent(words, **options)


def _from_module(name: str, path: str) -> Agents:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, something that it needs is not
        raise InvalidArgument(
            f"there is no module {error.name!r}, neither installed nor in {os.getcwd()}"
        ) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise InvalidArgument(f"module {name!r} has no {path!r}") from None
    agents = found.values() if isinstance(found, Mapping) else [found]
    for agent in agents:
        if not callable(agent) or isinstance(agent, type):
            raise InvalidArgument(
                f"{name}:{path} is {agent!r}: an agent is an async function of a RunRequest and "
                "a RunContext, or an object that can be called like one"
            )
    agent_or_agents: Agents = found
    return agent_or_agents
