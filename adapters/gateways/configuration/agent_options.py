"""Agents with arguments: what a file may give of what an agent's class takes."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from moorage.adapters.agents import ProcessAgent
from moorage.runtime.errors import InvalidArgument

from ..agent_spec import load_agent
from ..provider_agents import PROVIDERS, provider_class
from .scalars import core_value
from .settings import FILE_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moorage.runtime.agents import Agents

    from .given import Given
    from .structuring import Structuring

TEXT_WORDS = frozenset({"str", "PathText", "PathLike"})
PLAIN_WORDS = TEXT_WORDS | {
    *("int", "float", "bool", "None", "Any", "Mapping", "Literal", "os"),
    *("PermissionMode", "Continuation", "ApprovalDefault", "Prices"),
}
"""What annotations of arguments consist of that plain data can be."""
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|[A-Za-z_]+")


def takes_options(spec: str) -> bool:
    """Whether the agent of that name is one whose class we know."""
    return spec.partition(":")[0] in (*PROVIDERS, "process")


def agent_with(
    spec: str,
    options: Mapping[str, Any],
    givens: Mapping[tuple[str, ...], Given],
    path: tuple[str, ...],
    structuring: Structuring,
) -> Agents | None:
    """The agent that ``spec`` names, with ``options`` as arguments; ``givens`` has them by
    ``path``. What is wrong with one of them is added to the problems, and None returned. Raises
    InvalidArgument for the rest, and what a module raises while it is imported.
    """
    if not options:
        return load_agent(spec)
    if not takes_options(spec):
        raise InvalidArgument(
            f"options are for agents of providers and for process:COMMAND, not for {spec!r}: "
            "write a module that makes the agent with them, and name that"
        )
    parameters = _parameters(spec)
    before = len(structuring.problems)
    arguments: dict[str, Any] = {}
    for name, value in options.items():
        _argument(name, value, parameters, givens, (*path, name), structuring, arguments)
    if len(structuring.problems) > before:
        return None
    return load_agent(spec, arguments)


def _parameters(spec: str) -> dict[str, str]:
    """Name -> annotation of the arguments that plain data can be."""
    kind = spec.partition(":")[0]
    made: Callable[..., Any] = ProcessAgent if kind == "process" else provider_class(kind)
    parameters = inspect.signature(made).parameters.values()
    return {
        parameter.name: str(parameter.annotation)
        for parameter in parameters
        if parameter.name != "command" and _is_plain(str(parameter.annotation))
    }


def _is_plain(annotation: str) -> bool:
    """Whether one of its alternatives is for plain data."""
    return any(
        part != "None" and PLAIN_WORDS.issuperset(_words(part)) for part in annotation.split(" | ")
    )


def _words(annotation: str) -> list[str]:
    return [word for word in _WORD.findall(annotation) if word[0] not in "'\""]


def _argument(
    name: str,
    value: Any,
    parameters: Mapping[str, str],
    givens: Mapping[tuple[str, ...], Given],
    path: tuple[str, ...],
    structuring: Structuring,
    arguments: dict[str, Any],
) -> None:
    given = givens.get(path)
    stem = name.removesuffix(FILE_SUFFIX)
    if name in parameters:
        if given is not None and given.is_text and TEXT_WORDS.isdisjoint(_words(parameters[name])):
            value = core_value(value)
        arguments[name] = value
    elif name != stem and stem in parameters and given is not None and type(value) is str:
        text = structuring.secret(given, path)
        if text is not None:
            arguments[stem] = text
    else:
        structuring.refuse_unknown(path, parameters)
