"""Where things are in the demo's directory."""

from __future__ import annotations

import tempfile
from pathlib import Path

SOCKET_BYTES_MAX = 100
"""The kernel takes 108 for the path of a socket."""


class Places:
    """Paths below ``root``, the same for all three processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = root / "journal"
        self.scratch = root / "scratch"
        self.started = root / "started"
        """Run id and attempt of every program, written by the agent before it is started."""
        self.record = root / "record.jsonl"
        self.service_errors = root / "service.log"
        self.client_errors = root / "client.log"

    @property
    def socket(self) -> Path:
        """In ``root``, or elsewhere if its path is too long for a socket."""
        path = self.root / "socket"
        if len(bytes(path)) <= SOCKET_BYTES_MAX:
            return path
        return Path(tempfile.gettempdir()) / f"moorage-demo-{self.root.stat().st_ino}"
