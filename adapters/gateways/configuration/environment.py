"""Settings in the environment: ``MOORAGE_GATEWAY__BIND`` is ``gateway.bind``.

Variables without a double underscore are left alone, apart from those that commands have always
read: a cluster's own, such as ``MOORAGE_SERVICE_HOST``, must not be taken for settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .given import Branch, Given, Problem, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "MOORAGE_"
SEPARATOR = "__"
SHORT = {
    "MOORAGE_STORE": ("store", "spec"),
    "MOORAGE_KEYS": ("store", "keys"),
    "MOORAGE_DATA": ("store", "spec"),
    "MOORAGE_AGENT": ("agents",),
}
"""Variables with a name of their own, and the setting that each of them gives."""


def read_environment(environ: Mapping[str, str], problems: list[Problem]) -> Branch:
    """What the variables give. Values are text; one that is empty gives nothing."""
    root = Branch(_source("the environment"))
    paths: dict[tuple[str, ...], str] = {}
    for name in sorted(environ):
        path = path_of(name)
        if path is None or not environ[name]:
            continue
        if path in paths:
            told = f"{paths[path]} is set too: unset one"
            problems.append(Problem(name, ".".join(path), told))
            continue
        paths[path] = name
        if not all(path):
            problems.append(Problem(name, "", "a name is missing beside a double underscore"))
            continue
        value = f"journal:{environ[name]}" if name == "MOORAGE_DATA" else environ[name]
        given = Given(value, _source(name), shown=environ[name], is_text=True)
        if not _put(root, path, given):
            told = "another variable gives a part of it, or all of it: unset one"
            problems.append(Problem(name, ".".join(path), told))
    return root


def path_of(variable: str) -> tuple[str, ...] | None:
    """The setting that a variable of that name gives, or None."""
    if variable in SHORT:
        return SHORT[variable]
    if not variable.startswith(PREFIX) or SEPARATOR not in variable.removeprefix(PREFIX):
        return None
    return tuple(variable.removeprefix(PREFIX).lower().split(SEPARATOR))


def variable_of(path: tuple[str, ...]) -> str:
    """The variable that gives the setting."""
    return PREFIX + SEPARATOR.join(path).upper()


def _put(root: Branch, path: tuple[str, ...], given: Given) -> bool:
    branch = root
    for name in path[:-1]:
        inner = branch.entries.setdefault(name, Branch(given.source))
        if isinstance(inner, Given):
            return False
        branch = inner
    return branch.entries.setdefault(path[-1], given) is given


def _source(name: str) -> Source:
    return Source("environment", name, Path.cwd())
