"""The journal: one shared log in a directory for all sessions, with group commit."""

from ..durability import Durability
from .disk import Disk, OsDisk
from .statistics import JournalStatistics
from .store import JournalStore

__all__ = ["JournalStore", "JournalStatistics", "Durability", "Disk", "OsDisk"]
