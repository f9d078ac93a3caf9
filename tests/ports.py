"""Ports for servers that are started later than their port is picked, or started again on it."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10_000
_dice = random.SystemRandom()


def unused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and that nobody is given who asks for any port
    or connects to somewhere: it is below those that the system hands out."""
    below = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    while True:
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", _dice.randrange(_FIRST, max(below, _FIRST + 1_000))))
            return int(found.getsockname()[1])


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port that servers can have which allow their address to be reused, as all do here, and that
    nobody else is given meanwhile, as could happen to one that was looked for and let go."""
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(("127.0.0.1", 0))
        yield holding.getsockname()[1]
