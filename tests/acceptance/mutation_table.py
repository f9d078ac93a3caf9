"""Reads mutations.toml: ways to break the code, each with the tests that must notice."""

from __future__ import annotations

import tomllib
from pathlib import Path

import attrs

TABLE = Path(__file__).with_name("mutations.toml")


@attrs.frozen(kw_only=True)
class Mutation:
    """``old`` stands exactly once in ``file``; with ``new`` in its place one of ``tests`` fails.

    ``promise`` is the number of the README's guarantee that this breaks, 0 for none of them.
    ``tests`` are pytest node ids, run in one go.
    """

    name: str
    promise: int
    file: str
    old: str
    new: str
    tests: list[str]


def load_mutations(path: Path = TABLE) -> list[Mutation]:
    """Every listed mutation. Raises TypeError for a missing or unknown field."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Mutation(**entry) for entry in table.get("mutation", [])]
