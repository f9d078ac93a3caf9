"""Commands that another process sent: their answers are kept with what they caused.

Such a command comes with a letter, its name in the store. Whoever sent it learns what is kept under
that name, so an answer that is in the same write as the events is told exactly if they are there.
One that caused no events needs none: who takes it over does it again, and nothing was done before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .ports import Answered
from .sessions import SessionStatus
from .turns import Trimming

if TYPE_CHECKING:
    from .inbox import Ask
    from .ports import Claim, LetterStore, Store
    from .sessions import SessionInfo
    from .turns import Batch


def answered_by(batch: Batch) -> list[Answered]:
    """What the batch answers to letters. A trim is answered when it has been done, and a status is
    not complete yet."""
    return [
        Answered(ask.letter, answer)
        for ask, answer in batch.answers
        if ask.letter is not None and not isinstance(answer, (Trimming, SessionStatus))
    ]


async def append_answering(
    store: Store, claim: Claim, batch: Batch, info: SessionInfo | None
) -> None:
    """Append what the batch has, and the answers to letters with it. Raises what ``append`` does:
    StoreFailed(written=False) if another process has or had one of the letters."""
    seq, records, answered = batch.first_seq, batch.records, answered_by(batch)
    if answered:
        letters = cast("LetterStore", store)
        await letters.append(claim, expected_seq=seq, records=records, info=info, answered=answered)
    else:  # many stores know of no letters
        await store.append(claim, expected_seq=seq, records=records, info=info)


async def delete_answering(store: Store, claim: Claim, ask: Ask, existed: bool) -> None:
    """Delete the session as asked for. Raises what ``delete`` does, and as above."""
    if ask.letter is None:
        await store.delete(claim)
    else:
        letters = cast("LetterStore", store)
        await letters.delete(claim, answered=[Answered(ask.letter, existed)])
