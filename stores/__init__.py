"""Where logs live."""

from .durability import Durability
from .journal import JournalStore
from .memory import MemoryStore

__all__ = ["Durability", "JournalStore", "MemoryStore"]
