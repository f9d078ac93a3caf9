"""How much a store's append means when it returns."""

from __future__ import annotations

import enum


class Durability(str, enum.Enum):
    """COMMIT: it survives power loss; every commit is synced. BUFFERED: it survives the end of
    the process, however that ends; the operating system writes it out when it likes, and power
    loss takes the last seconds with it (whole commits, from the end)."""

    COMMIT = "commit"
    BUFFERED = "buffered"

    def __str__(self) -> str:
        return self.value
