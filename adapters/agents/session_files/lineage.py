"""The way from an entry of a session file back to its first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def lineage(leaf: str | None, entries: Mapping[str, T], parent: Callable[[T], object]) -> list[T]:
    """The entries from the first one to ``leaf``, by id. It begins where a parent is missing, or
    where one comes round again."""
    found: dict[str, T] = {}
    id: object = leaf
    while type(id) is str and id in entries and id not in found:
        found[id] = entries[id]
        id = parent(entries[id])
    return list(found.values())[::-1]
