"""Where logs live."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .durability import Durability
from .journal import JournalStore
from .memory import MemoryStore

if TYPE_CHECKING:
    from .jsonl import JsonlStore
    from .postgres import PostgresStore
    from .redis import RedisStore
    from .snapshot_only import SnapshotOnlyStore
    from .sqlite import SqliteStore

__all__ = [
    "Durability",
    "JournalStore",
    "JsonlStore",
    "MemoryStore",
    "PostgresStore",
    "RedisStore",
    "SnapshotOnlyStore",
    "SqliteStore",
]

_LATER = {
    "JsonlStore": ".jsonl",
    "PostgresStore": ".postgres",
    "RedisStore": ".redis",
    "SnapshotOnlyStore": ".snapshot_only",
    "SqliteStore": ".sqlite",
}
"""Stores that are imported when they are asked for, since their drivers are large, or extras."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name], __name__), name)
