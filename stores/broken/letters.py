"""Stores that are wrong about commands which another process sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Answered, Claim


class AnswersNotKept(MemoryStore):
    """An append keeps its events and not the answers that came with them."""

    async def append(self, claim: Claim, *, answered: Sequence[Answered] = (), **rest: Any) -> None:
        await super().append(claim, **rest)


class AnsweredAgain(MemoryStore):
    """A command that has an answer may be done and answered once more."""

    def _keep(self, answered: Sequence[Answered]) -> None:
        for item in answered:
            self._content.letters.setdefault(item.letter, item)
            self._content.letters[item.letter] = self._content.letters[item.letter] or item
