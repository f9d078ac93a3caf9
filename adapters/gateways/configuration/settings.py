"""Settings as fields of attrs classes: declared once, and read by whatever needs to know them.

A section is a class. Its fields are made by ``setting``, ``section`` and ``named``, or, in classes
of limits that are used as they are, have the metadata ``minimum`` and ``whole``: their kinds then
follow from that and from the unit in their names.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs

from . import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTING = "moorage_setting"
SECTION = "moorage_section"
NAMED = "moorage_named"
FILE_SUFFIX = "_file"


@attrs.frozen
class Setting:
    """A leaf. ``option`` is the option of ``moorage serve`` that gives it. A secret is never shown,
    and may be read from the file that NAME_file names."""

    kind: kinds.Kind
    doc: str
    is_secret: bool = False
    option: str | None = None


@attrs.frozen
class Named:
    """A map from names of the user's choice to sections; a text in the place of one stands for its
    field ``short``, and in the place of the map for that of the one called ``default``."""

    section: type[Any]
    short: str
    doc: str


def setting(
    kind: kinds.Kind,
    default: Any,
    doc: str,
    *,
    secret: bool = False,
    option: str | None = None,
) -> Any:
    """A field for a value of ``kind``. A mutable default is a factory's work: give an empty one."""
    metadata = {SETTING: Setting(kind, doc, secret, option)}
    if default == {}:
        return attrs.field(factory=dict, metadata=metadata, repr=not secret)
    return attrs.field(default=default, metadata=metadata, repr=not secret)


def section(kind: type[Any]) -> Any:
    """A field for a section of settings; ``kind`` is an attrs class that has defaults for all."""
    return attrs.field(factory=kind, metadata={SECTION: kind})


def named(kind: type[Any], *, short: str, doc: str) -> Any:
    """A field for a map from names to sections."""
    return attrs.field(factory=dict, metadata={NAMED: Named(kind, short, doc)})


Part = Setting | Named | type
"""What a field of a section is: a leaf, a map of sections, or a section's class."""


def parts_of(kind: type[Any]) -> dict[str, Part]:
    """The fields of a section's class, in their order."""
    if kind not in _PARTS:
        _PARTS[kind] = _read_parts(kind)
    return _PARTS[kind]


_PARTS: dict[type[Any], dict[str, Part]] = {}
"""What was read of a class; the classes are few, and reading one takes a millisecond."""


def _read_parts(kind: type[Any]) -> dict[str, Part]:
    docs = _docs_of(kind)
    parts: dict[str, Part] = {}
    for field in attrs.fields(kind):
        if SECTION in field.metadata:
            parts[field.name] = field.metadata[SECTION]
        elif NAMED in field.metadata:
            parts[field.name] = field.metadata[NAMED]
        elif SETTING in field.metadata:
            parts[field.name] = field.metadata[SETTING]
        else:
            parts[field.name] = Setting(_limit(field), docs.get(field.name, ""))
    return parts


def all_settings(kind: type[Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Setting, Any]]:
    """(path, setting, default) of every leaf; a name of the user's choice is ``NAME``."""
    defaults = attrs.fields_dict(kind)
    for name, part in parts_of(kind).items():
        if isinstance(part, Setting):
            yield ".".join((*path, name)), part, _default(defaults[name])
        elif isinstance(part, Named):
            yield from all_settings(part.section, (*path, name, "NAME"))
        else:
            yield from all_settings(part, (*path, name))


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    return default.factory() if hasattr(default, "factory") else default


def _limit(field: attrs.Attribute[Any]) -> kinds.Kind:
    minimum = field.metadata["minimum"]
    words = field.name.split("_")
    if "bytes" in words:
        return kinds.size(minimum)
    if field.metadata.get("whole", False):
        return kinds.whole(minimum)
    if "seconds" in words and "per" not in words:
        return kinds.seconds(minimum)
    return kinds.number(minimum)


def _docs_of(kind: type[Any]) -> dict[str, str]:
    """What stands below each field in the class; empty where there is no source to read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, SyntaxError):
        return {}
    body = getattr(tree.body[0], "body", [])
    docs: dict[str, str] = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            text = getattr(below.value, "value", "")
            if isinstance(field.target, ast.Name) and isinstance(text, str):
                docs[field.target.id] = " ".join(text.split())
    return docs
