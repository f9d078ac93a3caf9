"""The journal: one shared log in a directory for all sessions, with group commit."""

from ..durability import Durability
from .compaction import CompactionReport
from .disk import Disk, OsDisk
from .recovery import Recovery
from .salvage import SalvageReport, salvage
from .statistics import JournalStatistics
from .store import JournalStore
from .verify import VerifyReport, verify

__all__ = [
    "JournalStore",
    "JournalStatistics",
    "Durability",
    "Recovery",
    "CompactionReport",
    "verify",
    "VerifyReport",
    "salvage",
    "SalvageReport",
    "Disk",
    "OsDisk",
]
