"""What the writer is asked for, and what it tells when that is durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from moorage.runtime.ports import Claim, Record, Snapshot

from .scanning import EventLine, Facts


@attrs.frozen
class Claiming:
    """Result: the new epoch."""

    session_id: str


@attrs.frozen
class Releasing:
    claim: Claim


@attrs.frozen
class Renewing:
    """Result: the claims that are over."""

    claims: Sequence[Claim]


@attrs.frozen
class Appending:
    """``info`` is encoded."""

    claim: Claim
    expected_seq: int
    records: Sequence[Record]
    info: bytes | None


@attrs.frozen
class SavingSnapshot:
    claim: Claim
    snapshot: Snapshot


@attrs.frozen
class SavingCursor:
    session_id: str
    name: str
    seq: int


@attrs.frozen
class Trimming:
    claim: Claim
    before: int


@attrs.frozen
class Deleting:
    claim: Claim


Work = (
    Claiming
    | Releasing
    | Renewing
    | Appending
    | SavingSnapshot
    | SavingCursor
    | Trimming
    | Deleting
)


@attrs.frozen
class Changed:
    """A session's facts are other ones now; ``events`` are those that came to it."""

    facts: Facts
    events: Sequence[EventLine] = ()


@attrs.frozen
class CursorSaved:
    session_id: str
    life: int
    name: str
    seq: int


Told = Changed | CursorSaved


class Undo:
    """Assignments to dicts that can be taken back, last one first."""

    def __init__(self) -> None:
        self._before: list[tuple[dict[Any, Any], Any, Any]] = []

    def set(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        self._before.append((mapping, key, mapping.get(key, _ABSENT)))
        mapping[key] = value

    def remove(self, mapping: dict[Any, Any], key: Any) -> None:
        self._before.append((mapping, key, mapping.pop(key, _ABSENT)))

    def take_back(self) -> None:
        for mapping, key, value in reversed(self._before):
            if value is _ABSENT:
                mapping.pop(key, None)
            else:
                mapping[key] = value


_ABSENT = object()
