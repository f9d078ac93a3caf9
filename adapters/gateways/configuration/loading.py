"""Options over environment over file over defaults: what counts, and where each value is from."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from moorage.runtime.errors import InvalidArgument

from ..data_directory import DEFAULT, platform_directory
from ..store_spec import without_password
from .document import FileRefused, read_document
from .environment import read_environment
from .given import Branch, Given, Problem, Source, is_one_in_the_other, merged
from .schema import Configuration
from .settings import Setting, all_settings
from .structuring import Structuring, normalised

VARIABLE = "MOORAGE_CONFIG"
MASK = "***"
SECRET_WORDS = frozenset(
    {
        *("key", "apikey", "token", "secret", "secrets", "password", "passwd", "pwd", "passphrase"),
        *("credential", "credentials", "authorization", "auth", "bearer", "cookie", "cookies"),
    }
)
HIDDEN_SECTIONS = frozenset({"environment", "headers", "provider_options"})
"""Of an agent's options: whatever a program may be given there, secrets with names of their own
too, so that no value in them is shown."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_VARIABLE_ALONE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_LINE = re.compile(r":(\d+)$")


class ConfigurationInvalid(InvalidArgument):
    """``problems`` has everything that is wrong, one line each in the message."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@attrs.frozen
class EffectiveSetting:
    """A setting as it counts; ``shown`` is plain data without secrets."""

    path: str
    shown: Any
    source: Source


@attrs.frozen
class Loaded:
    """A configuration, what was given for it by path, and what is wrong with that. Where there
    are problems, the configuration has defaults in their places. ``unresolved`` are the paths of
    what has no value yet, like that of a variable that is not set: what else is wrong there, or
    with all of a file that cannot be read (``""``), would be a guess."""

    configuration: Configuration
    givens: Mapping[tuple[str, ...], Given]
    problems: tuple[Problem, ...]
    unresolved: frozenset[str] = frozenset()

    def checked(self) -> Configuration:
        """The configuration. Raises ConfigurationInvalid."""
        if self.problems:
            raise ConfigurationInvalid(self.problems)
        return self.configuration

    def checked_for(self, section: str) -> Configuration:
        """The configuration, of which one section alone must be right. Raises
        ConfigurationInvalid for that, and for a file that cannot be read."""
        wrong = [one for one in self.problems if one.path.split(".")[0] in ("", section)]
        if wrong:
            raise ConfigurationInvalid(tuple(wrong))
        return self.configuration

    def place_of(self, *path: str) -> str:
        """Where that setting, or else what is next to it, was given; or "". A name may have a
        number in brackets behind it, for a part of a list."""
        for length in range(len(path), 0, -1):
            wanted = tuple(name.partition("[")[0] for name in path[:length])
            for given_path, given in self.givens.items():
                if given_path[:length] == wanted:
                    return _part_of(given, path[length - 1]).name
        return ""

    def problem(self, path: tuple[str, ...], text: str, *, is_usage: bool = True) -> Problem:
        """Something wrong with a setting, with its place."""
        return Problem(self.place_of(*path), ".".join(path), text, is_usage=is_usage)

    def is_guess(self, *path: str) -> bool:
        """Whether what seems wrong with a setting may come from what is unresolved: itself, what
        it is part of, or a part of it."""
        here = ".".join(path)
        return any(is_one_in_the_other(here, other) for other in self.unresolved)

    def effective(self) -> list[EffectiveSetting]:
        """Every setting, defaults too, in the order of the schema."""
        found: list[EffectiveSetting] = []
        default = Source("default", "default", Path.cwd())
        for path, setting, value in all_settings(Configuration):
            given = _below(self.givens, tuple(path.split(".")))
            found += [
                EffectiveSetting(".".join(at), _shown(at, one, setting), one.source)
                for at, one in given
            ]
            if not given and "NAME" not in path:
                found.append(EffectiveSetting(path, _plain(value), default))
        return found


def load_configuration(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
) -> Loaded:
    """Read what there is. ``options`` are (name of the option, value) by path, like
    ``{"gateway.bind": ("--bind", "127.0.0.1:80")}``. Raises nothing for what is wrong: see
    ``Loaded.checked``.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    layers: list[Branch] = [_options(options or {}), read_environment(environ, problems)]
    # two variables for what an option says do no harm
    problems = [one for one in problems if one.path not in (options or {})]
    unresolved: frozenset[str] = frozenset()
    if file is not None:
        before = len(problems)
        try:
            layers.append(read_document(file, environ, problems))
        except FileRefused as refused:
            problems.append(refused.problem)
        unresolved = frozenset(problem.path for problem in problems[before:])
    tree: Branch | Given = Branch(Source("default", "default", Path.cwd()))
    for layer in reversed(layers):
        tree = merged(normalised(Configuration, layer), tree)
    structuring = Structuring(problems, unresolved)
    configuration: Configuration = structuring.section(Configuration, tree)
    if configuration.store.spec is None:
        path = DEFAULT if file is None else platform_directory(environ)
        configuration = attrs.evolve(
            configuration, store=attrs.evolve(configuration.store, spec=f"journal:{path}")
        )
        source = Source("default", "default", path)
        structuring.givens[("store", "spec")] = Given(f"journal:{path}", source)
    return Loaded(configuration, structuring.givens, in_order(problems), unresolved)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """As one goes through the file to mend them, then those of elsewhere."""

    def line(problem: Problem) -> float:
        found = _LINE.search(problem.place)
        return math.inf if found is None else int(found[1])

    return tuple(sorted(problems, key=line))


def _options(options: Mapping[str, tuple[str, Any]]) -> Branch:
    root = Branch(Source("option", "options", Path.cwd()))
    for path, (name, value) in options.items():
        source = Source("option", name, Path.cwd())
        branch = root
        *sections, last = path.split(".")
        for section in sections:
            inner = branch.entries.setdefault(section, Branch(source))
            assert isinstance(inner, Branch)
            branch = inner
        if isinstance(value, dict):
            entries: dict[str, Branch | Given] = {
                key: Given(one, source) for key, one in value.items()
            }
            branch.entries[last] = Branch(source, entries, replaces=True)
        else:
            branch.entries[last] = Given(value, source)
    return root


def _below(
    givens: Mapping[tuple[str, ...], Given], pattern: tuple[str, ...]
) -> list[tuple[tuple[str, ...], Given]]:
    """What was given for a path, in which NAME stands for any name, and below it."""
    return [
        (path, given)
        for path, given in givens.items()
        if len(path) >= len(pattern)
        and all(part in ("NAME", name) for part, name in zip(pattern, path, strict=False))
    ]


def _part_of(given: Given, name: str) -> Source:
    number = name.partition("[")[2].rstrip("]")
    return given.parts[int(number)] if number and given.parts else given.source


def _shown(path: tuple[str, ...], given: Given, setting: Setting) -> Any:
    if given.shown != given.value:
        if _is_named_secret(path) and not _VARIABLE_ALONE.fullmatch(str(given.shown)):
            return MASK  # the rest may be written there as it is
        return _without_secrets(given.shown)
    if setting.is_secret:
        return without_password(str(given.value))
    if is_hidden(path, given):
        return MASK
    return _without_secrets(_plain(given.value))


def is_hidden(path: tuple[str, ...], given: Given) -> bool:
    """Whether the value of an option of an agent or a store may be a secret."""
    return _is_named_secret(path) or given.shown != given.value


def _is_named_secret(path: tuple[str, ...]) -> bool:
    return "options" in path and any(
        name in HIDDEN_SECTIONS or _sounds_secret(name)
        for name in path[path.index("options") + 1 :]
    )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if name in HIDDEN_SECTIONS or _sounds_secret(name) else _without_secrets(one)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return without_password(value) if isinstance(value, str) else value


def _sounds_secret(name: str) -> bool:
    return not SECRET_WORDS.isdisjoint(word.lower() for word in _WORDS.findall(name))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
