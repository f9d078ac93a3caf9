"""Which files this process has open, of those that a test cares about: others come and go."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_files(directory: Path) -> list[str]:
    """Their paths, once for each descriptor; those without a name any more end in "(deleted)"."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue  # closed since it was listed, as that of the listing itself is
    return [path for path in found if path.startswith(f"{directory}/")]
