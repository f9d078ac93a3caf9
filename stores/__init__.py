"""Where logs live."""

from .memory import MemoryStore

__all__ = ["MemoryStore"]
