"""Which node has a session, as ``moorage status`` says it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import InvalidArgument
from moorage.runtime.reversible_json import to_json

from .http_client import RequestRefused

if TYPE_CHECKING:
    from moorage.runtime import Reader, SessionHolder


async def holder_of(reader: Reader, session_id: str) -> dict[str, SessionHolder | None]:
    """``holder``, None if nobody has it. Nothing where that is not told: of a store that has one
    process at a time, and by a server to who does not operate it."""
    try:
        return {"holder": await reader.holder(session_id)}
    except (InvalidArgument, RequestRefused):
        return {}


def describe_holder(holder: SessionHolder | None) -> str:
    """``node 7 (pid 12 on host), epoch 3, lease 8.1 s``."""
    if holder is None:
        return "nobody"
    left = holder.lease_seconds_left
    lease = f"lease {left:.1f} s" if holder.live else f"lease over for {-left:.0f} s"
    if left == math.inf:
        lease = "for as long as it is open"
    return f"node {holder.node_id} ({holder.owner}), epoch {holder.epoch}, {lease}"


def holder_to_json(holder: SessionHolder | None) -> dict[str, Any] | None:
    """The keys are those of SessionHolder."""
    return None if holder is None else to_json(attrs.asdict(holder))
