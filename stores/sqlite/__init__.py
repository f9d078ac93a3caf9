"""Sessions in one SQLite file: one process writes, any number read."""

from .statistics import SqliteStatistics
from .store import SqliteStore

__all__ = ["SqliteStatistics", "SqliteStore"]
