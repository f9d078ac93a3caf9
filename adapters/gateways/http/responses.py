"""What operations answer, as data: which schema stands behind which status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .operations import JSON, Answer
from .schemas import COMPONENTS, ref

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEANING = {
    200: "As it is now.",
    201: "It was made.",
    202: "It was accepted, and goes on.",
    204: "There is nothing more to come.",
    503: "Not now.",
}


def answers(named: Mapping[int, str]) -> dict[int, Answer]:
    """Status -> an answer in JSON whose schema has that name; "" is one without content."""
    return {status: _answer(status, name) for status, name in named.items()}


def _answer(status: int, name: str) -> Answer:
    if not name:
        return Answer(description=_MEANING[status])
    described = COMPONENTS[name].get("description") or _MEANING[status]
    return Answer(description=described, content={JSON: ref(name)})
