"""From a tree of what was given to a configuration, with all that is wrong in one go."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument

from .document import SECRET_BYTES_MAX, read_small_file
from .given import Branch, Given, Problem, Source, is_one_in_the_other, plain
from .kinds import Unfit, place_in
from .settings import FILE_SUFFIX, Named, Part, Setting, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_CHARS_MAX = 60


def normalised(kind: type[Any], tree: Branch | Given) -> Branch | Given:
    """The tree of one source with short forms written out, so that several can be merged:
    a named section that is given as a text, or anew, replaces what weaker sources say of it."""
    if isinstance(tree, Given):
        return tree
    entries = dict(tree.entries)
    for name, part in parts_of(kind).items():
        if name not in entries:
            continue
        if isinstance(part, Named):
            entries[name] = _written_out(part, entries[name])
        elif not isinstance(part, Setting):
            entries[name] = normalised(part, entries[name])
    return Branch(tree.source, entries, tree.replaces)


def _written_out(part: Named, tree: Branch | Given) -> Branch:
    if isinstance(tree, Given) and tree.value is None:
        return Branch(tree.source)
    if isinstance(tree, Given):
        inner = Branch(tree.source, {part.short: tree}, replaces=True)
        return Branch(tree.source, {"default": inner}, replaces=True)
    entries: dict[str, Branch | Given] = {}
    for name, value in tree.entries.items():
        if isinstance(value, Given):
            entries[name] = Branch(value.source, {part.short: value}, replaces=True)
        else:
            entries[name] = attrs.evolve(value, replaces=part.short in value.entries)
    return Branch(tree.source, entries)


class Structuring:
    """One pass over a tree. ``problems`` are what is wrong, ``givens`` what counts, by path.
    A value that is ``unresolved`` has a problem already, and gets no second one."""

    def __init__(self, problems: list[Problem], unresolved: frozenset[str] = frozenset()) -> None:
        self.problems = problems
        self._unresolved = unresolved
        self.givens: dict[tuple[str, ...], Given] = {}

    def section(self, kind: type[Any], tree: Branch | Given, path: tuple[str, ...] = ()) -> Any:
        """An instance of ``kind``; what is wrong has its default there."""
        if isinstance(tree, Given):
            if tree.value is not None:  # a section without anything in it
                self._refuse(tree, path, f"expected a section, not {shown(tree.shown)}")
            return kind()
        parts = parts_of(kind)
        values: dict[str, Any] = {}
        for name, value in self._with_secrets_read(parts, tree, path).items():
            part = parts.get(name)
            if part is None:
                self._unknown(value, (*path, name), parts)
            else:
                self._part(part, value, (*path, name), values)
        try:
            return kind(**values)
        except InvalidArgument as error:  # values that do not go together
            self._refuse(tree, path, str(error))
            return kind()

    def _part(
        self, part: Part, value: Branch | Given, path: tuple[str, ...], values: dict[str, Any]
    ) -> None:
        if isinstance(part, Setting):
            if not (isinstance(value, Given) and value.value is None):  # left empty: not given
                self._setting(part, value, path, values)
        elif isinstance(part, Named):
            values[path[-1]] = self._named(part, value, path)
        else:
            values[path[-1]] = self.section(part, value, path)

    def _named(self, part: Named, tree: Branch | Given, path: tuple[str, ...]) -> dict[str, Any]:
        assert isinstance(tree, Branch), "short forms are written out"
        return {
            name: self.section(part.section, value, (*path, name))
            for name, value in tree.entries.items()
        }

    def _setting(
        self,
        part: Setting,
        value: Branch | Given,
        path: tuple[str, ...],
        values: dict[str, Any],
    ) -> None:
        if isinstance(value, Branch):
            if not part.kind.is_map:
                self._refuse(value, path, f"expected {part.kind.expected}, not a section")
                return
            self._note_leaves(value, path)
            source, raw, is_text = value.source, plain(value), False
            written = plain(value, shown=True)
        else:
            self.givens[path] = value
            source, raw, is_text = value.source, value.value, value.is_text
            written = value.shown
        try:
            values[path[-1]] = part.kind.take(raw, is_text, source.directory)
        except Unfit as unfit:
            if value.source.kind == "file" and self._is_unresolved(path):
                return
            # what a variable holds may be a secret, and so may what is wrong with it; what is
            # wrong with a secret shows nothing of it
            told = unfit.why if part.is_secret or written == raw else None
            seen = "that" if part.is_secret else shown(written)
            self._refuse(value, path, told or f"expected {part.kind.expected}, not {seen}")

    def _is_unresolved(self, path: tuple[str, ...]) -> bool:
        return any(is_one_in_the_other(".".join(path), one) for one in self._unresolved)

    def _note_leaves(self, tree: Branch | Given, path: tuple[str, ...]) -> None:
        if isinstance(tree, Given):
            self.givens[path] = tree
            return
        for name, value in tree.entries.items():
            self._note_leaves(value, (*path, name))

    def _with_secrets_read(
        self, parts: dict[str, Part], tree: Branch, path: tuple[str, ...]
    ) -> dict[str, Branch | Given]:
        """The entries, with the text of files in the places of NAME_file."""
        entries = dict(tree.entries)
        for name in tree.entries:
            stem = name.removesuffix(FILE_SUFFIX)
            part = parts.get(stem)
            if name == stem or not isinstance(part, Setting) or not part.is_secret:
                continue
            value, beside = entries.pop(name), entries.get(stem)
            if isinstance(value, Branch) or type(value.value) is not str:
                self._refuse(value, (*path, name), "expected a path")
            elif beside is not None and beside.source.kind == value.source.kind:
                self._refuse(value, (*path, name), f"{stem} is given beside it: leave one out")
            elif beside is None or _stronger(value.source, beside.source):
                found = self.secret(value, (*path, name))
                if found is not None:
                    shown = f"(read from {value.shown})"
                    entries[stem] = Given(found, value.source, shown=shown, is_text=True)
        return entries

    def secret(self, value: Given, path: tuple[str, ...]) -> str | None:
        """The text of the file that ``value`` names, without the line's end; None after a
        problem."""
        try:
            file = place_in(value.source.directory, value.value)
            text = read_small_file(file, SECRET_BYTES_MAX).rstrip("\r\n")
        except Unfit as unfit:
            self._refuse(value, path, unfit.why or "expected a path")
            return None
        except OSError as error:
            told = f"{shown(value.shown)} cannot be read: {error.strerror or error}"
            self._refuse(value, path, told, is_usage=False)
            return None
        except ValueError as error:
            self._refuse(value, path, f"{shown(value.shown)} is no secret: {error}")
            return None
        if not text.strip():
            self._refuse(value, path, f"{shown(value.shown)} is empty")
            return None
        return text

    def refuse_unknown(self, path: tuple[str, ...], known: Iterable[str]) -> None:
        """Add that what was given for ``path`` is none of ``known``."""
        given = next(one for at, one in self.givens.items() if at[: len(path)] == path)
        self._unknown(given, path, known)

    def _unknown(self, value: Branch | Given, path: tuple[str, ...], known: Iterable[str]) -> None:
        self._refuse(value, path, f"there is no such setting{hint(path[-1], known)}")

    def _refuse(
        self, value: Branch | Given, path: tuple[str, ...], text: str, *, is_usage: bool = True
    ) -> None:
        problem = Problem(value.source.name, ".".join(path), text, is_usage=is_usage)
        self.problems.append(problem)


def _stronger(one: Source, other: Source) -> bool:
    order = ("default", "file", "environment", "option")
    return order.index(one.kind) > order.index(other.kind)


def hint(name: str, known: Iterable[str]) -> str:
    """Words that suggest the known name that is nearest, or list what there is."""
    words = list(known)
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.6)
    if near:
        return f": is {near[0]} meant?"
    return f": there are {', '.join(words)}" if words else ""


def shown(value: Any) -> str:
    """A value in an error, cut to a glance."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 3]}..."
