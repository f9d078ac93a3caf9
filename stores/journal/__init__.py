"""The journal: one shared log in a directory for all sessions, with group commit.

::

    LOCK                          held by the owner, says who it is
    MANIFEST                      which files make up the log (manifest.py)
    DURABLE                       how far readers may read (durable.py)
    segments/00000001.log         commits, one frame each (format.py)
    segments/00000001-2f00.index  what is where in a segment, up to an offset (sealed.py)
    directory/00000002            one entry for each session (checkpoint.py)

What happens to a commit: ``owner`` fences it, ``changes`` makes blocks of it, ``commits`` puts all
that arrived meanwhile into a frame (``target``), and when that is durable ``state`` (``directory``
and ``index``) learns of it. A read goes from ``state`` and the side files to blocks (``gather``)
and a page (``paging``). ``maintenance`` switches segments, ``sealing`` and ``checkpoint`` write
what makes replay short, ``compaction`` and ``rewriting`` free space. ``opening`` and ``recovery``
bring it all back, ``reading`` does so beside an owner, ``verify`` and ``salvage`` when it is
damaged (``survey``). All I/O goes through ``disk``.
"""

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
