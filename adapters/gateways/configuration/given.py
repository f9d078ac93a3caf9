"""What is given for settings, where, and by whom: trees whose leaves know their source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs

SourceKind = Literal["default", "file", "environment", "option"]


@attrs.frozen
class Source:
    """``name`` is as a person knows it: ``moorage.yaml:12``, ``MOORAGE_GATEWAY__BIND``,
    ``--bind``. Relative paths count from ``directory``."""

    kind: SourceKind
    name: str
    directory: Path


@attrs.frozen
class Given:
    """A value. ``shown`` is as it was written, so never what a variable or another file holds;
    ``is_text`` says that the value is a text that stands for one; ``parts`` are where those of a
    list stand."""

    value: Any
    source: Source
    shown: Any = attrs.field()
    is_text: bool = False
    parts: tuple[Source, ...] = ()

    @shown.default
    def _as_it_is(self) -> Any:
        return self.value


@attrs.frozen
class Branch:
    """Values below a name. ``replaces`` says that nothing of what a weaker source has there
    counts."""

    source: Source
    entries: dict[str, Branch | Given] = attrs.field(factory=dict)
    replaces: bool = False


@attrs.frozen
class Problem:
    """Something wrong: where it stands, which setting it is about (may be ""), and what it is.

    ``is_usage`` is what only other words would mend; the rest may be the world's fault.
    """

    place: str
    path: str
    text: str
    is_usage: bool = True

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.path, self.text) if part)


def is_one_in_the_other(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is of a part of the other; "" is of everything."""
    shorter, longer = sorted((one, other), key=len)
    return not shorter or longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def merged(above: Branch | Given, below: Branch | Given) -> Branch | Given:
    """``above``, with what it leaves open from ``below``."""
    if isinstance(above, Given) or isinstance(below, Given) or above.replaces:
        return above
    entries = dict(below.entries)
    for name, value in above.entries.items():
        entries[name] = merged(value, entries[name]) if name in entries else value
    return Branch(above.source, entries, replaces=below.replaces)


def plain(tree: Branch | Given, *, shown: bool = False) -> Any:
    """The values alone, as maps and lists."""
    if isinstance(tree, Given):
        return tree.shown if shown else tree.value
    return {name: plain(value, shown=shown) for name, value in tree.entries.items()}
