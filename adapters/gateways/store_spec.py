"""Which store a command means, in one word: ``--store sqlite:FILE``, ``--to postgres:DSN``.

What is behind a ``?`` are options of the store itself: ``postgres:DSN?schema=chats``,
``redis://host/0?prefix=chats:``. What of a URL's query is not one of ours stays in the URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode

import attrs
from moorage.runtime import InvalidArgument

from .data_directory import existing
from .frame import CommandFailed

if TYPE_CHECKING:
    from moorage.runtime.ports import Store


def _flag(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


Options = Mapping[str, tuple[str, Callable[[str], Any]]]
"""Name in a spec -> name in the store's constructor, and what makes the value of the text."""

_DURABILITY: Options = {"durability": ("durability", str)}
_LEASE: Options = {"lease_seconds": ("lease_seconds", float)}


@attrs.frozen
class Kind:
    """``store`` is a name in ``moorage.stores``; ``needs`` is what stands behind the colon."""

    store: str
    form: str
    needs: str
    options: Options
    is_file: bool = False


KINDS: dict[str, Kind] = {
    "journal": Kind("JournalStore", "DIR", "a directory", _DURABILITY, is_file=True),
    "sqlite": Kind(
        "SqliteStore",
        "FILE",
        "a file",
        {**_DURABILITY, "busy_seconds": ("busy_seconds", float)},
        is_file=True,
    ),
    "jsonl": Kind("JsonlStore", "DIR", "a directory", _DURABILITY, is_file=True),
    "postgres": Kind(
        "PostgresStore",
        "DSN",
        "a DSN or URL",
        {
            "schema": ("schema", str),
            "statement_timeout_seconds": ("statement_timeout_seconds", float),
            **_LEASE,
        },
    ),
    "redis": Kind(
        "RedisStore",
        "URL",
        "a URL",
        {
            "prefix": ("key_prefix", str),
            "session_ttl_seconds": ("session_ttl_seconds", float),
            "eviction_allowed": ("eviction_allowed", _flag),
            **_LEASE,
        },
    ),
}

SCHEMES = {
    "postgres": "postgres",
    "postgresql": "postgres",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
}
"""URLs say by themselves what they are."""

FORMS = "the directory of a journal, or " + ", ".join(
    f"{name}:{kind.form}" for name, kind in KINDS.items()
)

_IN_URL = re.compile(r"(://[^:/?#@]*):.*@", re.DOTALL)
_IN_WORDS = re.compile(r"(pass(?:word|file)?\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE)
_QUERY = re.compile(r"\w+=[^&]*(&\w+=[^&]*)*")


def without_password(text: str) -> str:
    """The text as it may be shown: ``***`` for what a URL or a DSN in it has as its password."""
    return _IN_WORDS.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))


@attrs.frozen
class Spec:
    """A store by its kind and place; ``options`` are arguments of its constructor."""

    kind: str
    place: str = attrs.field(repr=False)
    options: dict[str, Any]
    text: str = attrs.field(repr=False)
    """As it was given, with the password."""

    @property
    def shown(self) -> str:
        return without_password(self.text)

    @property
    def absolute_text(self) -> str:
        """As it is given in any directory; for files only."""
        if "?" not in self.text.removeprefix(self.kind):
            return f"{self.kind}:{Path(self.place).absolute()}"
        return f"{self.kind}:{Path(self.place).absolute()}?{self.text.rpartition('?')[2]}"

    def with_options(self, options: Mapping[str, str]) -> Spec:
        """The same with options as they would stand behind the ``?``. Raises CommandFailed."""
        known = KINDS[self.kind].options
        made: dict[str, Any] = {}
        for name, value in options.items():
            if name not in known:
                raise CommandFailed(
                    f"{name!r} is no option of {self.kind}: it has {', '.join(known)}"
                )
            argument, make = known[name]
            made[argument] = _made(self.kind, name, make, value)
        return attrs.evolve(self, options={**self.options, **made})

    @property
    def path(self) -> Path | None:
        """The file or directory it is in; None of one on a server."""
        return Path(self.place) if KINDS[self.kind].is_file else None

    def load(self, *, must_exist: bool) -> Store:
        """The store; nothing is opened yet. Raises CommandFailed, which shows no password."""
        kind = KINDS[self.kind]
        if must_exist and self.path is not None:
            if self.kind == "journal":
                existing(self.path)
            elif not self.path.exists():
                raise CommandFailed(f"there is no {kind.needs[2:]} {self.place!r} to read from")
        make = _constructor(self)
        try:
            return cast("Store", make(self.place, **self.options))
        except InvalidArgument as error:
            told = f"{self.shown!r} names no store, {self.kind} needs {kind.needs}: {error}"
            raise CommandFailed(without_password(told)) from None


def _constructor(spec: Spec) -> Callable[..., Any]:
    name = KINDS[spec.kind].store
    try:
        return cast("Callable[..., Any]", getattr(import_module("moorage.stores"), name))
    except AttributeError:
        raise CommandFailed(f"this version has no {name}: it cannot use {spec.shown!r}") from None
    except ImportError as error:
        raise CommandFailed(
            f"{name} needs a package that is not installed ({error.name}): "
            f"pip install 'moorage[{spec.kind}]'"
        ) from error


def load_store(spec: str, *, must_exist: bool) -> Store:
    """The store that ``spec`` names; nothing is opened yet. Raises CommandFailed."""
    return parse_spec(spec).load(must_exist=must_exist)


def spec_with_options(text: str, options: Mapping[str, Any]) -> str:
    """The text of a spec with more options behind its ``?``."""
    if not options:
        return text
    _, mark, query = text.rpartition("?")
    between = "&" if mark and _QUERY.fullmatch(query) else "?"
    return f"{text}{between}{urlencode(dict(options))}"


def parse_spec(text: str) -> Spec:
    """What ``text`` says. Raises CommandFailed, which shows no password."""
    kind, colon, place = text.partition(":")
    if not colon or "/" in kind:
        kind, place = "journal", text
    elif place.startswith("//"):
        if kind not in SCHEMES:
            raise CommandFailed(f"{kind}:// is no store: {FORMS}")
        kind, place = SCHEMES[kind], text
    elif kind not in KINDS:
        raise CommandFailed(f"{kind!r} is no kind of store: {FORMS}")
    place, options = _split_options(kind, place)
    if not place:
        raise CommandFailed(f"{without_password(text)!r} says no place: {FORMS}")
    return Spec(kind, place, options, text)


def _split_options(kind: str, place: str) -> tuple[str, dict[str, Any]]:
    """The place without our options, and those."""
    before, mark, query = place.rpartition("?")
    if not mark or not _QUERY.fullmatch(query):
        return place, {}
    known = KINDS[kind].options
    options: dict[str, Any] = {}
    others: list[tuple[str, str]] = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            others.append((name, value))
            continue
        argument, make = known[name]
        options[argument] = _made(kind, name, make, value)
    if others and "://" not in place:
        raise CommandFailed(f"{others[0][0]!r} is no option of {kind}: it has {', '.join(known)}")
    return (f"{before}?{urlencode(others)}" if others else before), options


def _made(kind: str, name: str, make: Callable[[str], Any], value: str) -> Any:
    try:
        return make(value)
    except ValueError as error:
        raise CommandFailed(f"the option {name} of {kind}: {error}") from None
