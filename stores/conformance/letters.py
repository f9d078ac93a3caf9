"""Commands for sessions of another process: each is done once, whoever is lost on the way."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from moorage.runtime.commands import GetStatus, Pause
from moorage.runtime.errors import StoreFailed, UnknownRun
from moorage.runtime.ports import Answered

from .scenario import (
    Author,
    Check,
    OpenStore,
    check,
    facts,
    note,
    numbers,
    refuse,
    require,
    require_equal,
    require_refused,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import LetterStore, Store

    Act = Callable[[Author, str | None], Awaitable[Answer]]


@contextlib.asynccontextmanager
async def _holder_and_sender(
    open_store: OpenStore, act: Act
) -> AsyncGenerator[tuple[Author, Store] | None]:
    """A process that has session a and does ``act`` with each letter, and one that sends. None
    without leases."""
    first, second = open_store(), open_store()
    authors: list[Author] = []

    async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
        return await act(authors[0], letter)

    if first.lease_seconds is None:
        yield None
        return
    async with (
        first.opened(owner="first", deliver=deliver),
        second.opened(owner="second", deliver=refuse),
    ):
        authors.append(await Author.of(first, "a"))
        await authors[0].write(note(1))
        yield authors[0], second


async def _append(author: Author, number: int, *answered: Answered) -> None:
    store = cast("LetterStore", author.store)
    await store.append(
        author.claim,
        expected_seq=author.head_seq + 1,
        records=[note(number)],
        info=facts(author.claim.session_id),
        answered=answered,
    )
    author.head_seq += 1


@check
async def answer_kept_with_an_append_is_the_answer(open_store: OpenStore) -> None:
    """With letters: the answer that an append has kept is what the sender gets, an answer or a
    refusal, whatever becomes of the process that was asked after that."""

    async def answer_and_fail(author: Author, letter: str | None) -> Answer:
        if letter is None:
            return {"answer": 7}
        await _append(author, 2, Answered(letter, {"answer": 7}))
        raise StoreFailed("the process is gone")

    async def refuse_and_answer(author: Author, letter: str | None) -> Answer:
        refusal = UnknownRun("a", "r1")
        if letter is None:
            raise refusal
        await _append(author, 3, Answered(letter, refusal))
        return "something else"

    steps = [answer_and_fail, refuse_and_answer]
    letters: list[str | None] = []

    async def act(author: Author, letter: str | None) -> Answer:
        letters.append(letter)
        return await steps[len(letters) - 1](author, letter)

    async with _holder_and_sender(open_store, act) as found:
        if found is None:
            return
        author, sender = found
        require_equal(await sender.hand_over("a", GetStatus()), {"answer": 7}, "the answer")
        await require_refused(
            UnknownRun, "a command whose refusal was kept", lambda: sender.hand_over("a", Pause())
        )
        if None not in letters:
            require(letters[0] != letters[1], "two commands came with one letter")
            require_equal(await numbers(sender, "a"), [(1, 1), (2, 2), (3, 3)], "events")
            await author.store.release(author.claim)


@check
async def letter_is_answered_once(open_store: OpenStore) -> None:
    """With letters: an append that answers a letter which has an answer raises
    StoreFailed(written=False) and keeps nothing; so does a delete."""
    answered: list[str] = []

    async def act(author: Author, letter: str | None) -> Answer:
        if letter is None:
            return "first"
        twice = (Answered(letter, "first"), Answered(letter, "again"))
        error = await require_refused(
            StoreFailed, "an append that answers twice", lambda: _append(author, 2, *twice)
        )
        require_equal(getattr(error, "written", None), False, "written of one that answers twice")
        await _append(author, 2, twice[0])
        await refused_as_answered(author, letter)
        answered.append(letter)
        return "second"

    async with _holder_and_sender(open_store, act) as found:
        if found is None:
            return
        author, sender = found
        require_equal(await sender.hand_over("a", GetStatus()), "first", "the answer")
        if not answered:
            return
        await refused_as_answered(author, answered[0])
        require_equal(await numbers(sender, "a"), [(1, 1), (2, 2)], "events")
        await author.write(note(3))


async def refused_as_answered(author: Author, letter: str) -> None:
    """Require that neither an append nor a delete may answer this letter."""
    again = Answered(letter, "again")
    store = cast("LetterStore", author.store)
    for what, write in (
        ("an append", lambda: _append(author, 9, again)),
        ("a delete", lambda: store.delete(author.claim, answered=[again])),
    ):
        error = await require_refused(StoreFailed, f"{what} that answers again", write)
        require_equal(getattr(error, "written", None), False, f"written of {what} that was refused")


LETTERS: tuple[Check, ...] = (
    answer_kept_with_an_append_is_the_answer,
    letter_is_answered_once,
)
