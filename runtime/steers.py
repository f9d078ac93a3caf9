"""Handing over a message to a running run, exactly once where it has a key.

The id of a message with a key is made of that key, so the log tells whether it was given before:
as a ``run_steered``, or as the run that it became. What the log had when it was looked through is
told to the worker, who has it looked through again if such a message may have come and gone since.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

from .errors import KeyConflict, UnknownRun, UnknownSession
from .events import same_data
from .identifiers import sortable_id
from .runs import SteerOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .commands import Answer, Command, Steer
    from .events import Data
    from .ports import StoredRun, StoreReader

    HandOver = Callable[[str, Command], Awaitable[Answer]]

_STEERED = frozenset({"run_steered"})


async def hand_over_steer(
    store: StoreReader, session_id: str, hand_over: HandOver, command: Steer
) -> SteerOutcome:
    """One without a key. Raises UnknownRun, and what a submission raises."""
    try:
        steered = bool(await hand_over(session_id, command))
    except UnknownRun:
        stored = await store.find_run(session_id, command.run_id)
        if stored is None:
            raise
        steered = False
        await hand_over(session_id, _of_ended(command, stored))
    return _outcome(command, steered)


async def hand_over_keyed_steer(
    store: StoreReader, session_id: str, hand_over: HandOver, command: Steer, key: str
) -> SteerOutcome:
    """The same, once for each run and key. Raises KeyConflict for another message, too."""
    while True:
        info = await store.info(session_id)
        stored = await store.find_run(session_id, command.run_id)
        if info is None:
            raise UnknownSession(session_id)
        if stored is None:
            raise UnknownRun(session_id, command.run_id)
        steer_id = _id_of(key, session_id, stored)
        command = attrs.evolve(command, steer_id=steer_id, checked_at=info.head_seq)
        known = await _given(store, session_id, command, after=stored.submitted.seq)
        if known is not None:
            steered, message = known
            if not same_data(message, command.message):
                raise KeyConflict(session_id, key=key, run_id=steer_id)
            return _outcome(command, steered)
        if stored.ended is not None:
            command = _of_ended(command, stored)
        try:
            answer = await hand_over(session_id, command)
        except UnknownRun:
            continue  # it has ended meanwhile
        if answer is not None:
            return _outcome(command, bool(answer))


def _of_ended(command: Steer, stored: StoredRun) -> Steer:
    return attrs.evolve(command, ended=True, agent=stored.submitted.data.get("agent"))


def _outcome(command: Steer, steered: bool) -> SteerOutcome:
    run_id = command.run_id if steered else command.steer_id
    return SteerOutcome(command.steer_id, run_id, steered)


def _id_of(key: str, session_id: str, stored: StoredRun) -> str:
    """Sorts behind the run that is steered; keys of other runs give other ids."""
    names = "\n".join((session_id, stored.submitted.run_id or "", key))
    return sortable_id(
        "run", stored.submitted.time_ns, hashlib.sha256(names.encode()).digest()[:10]
    )


async def _given(
    store: StoreReader, session_id: str, command: Steer, *, after: int
) -> tuple[bool, Data] | None:
    """(whether the run was offered it, the message) of a message with this id, if there is one."""
    while True:
        page = await store.read(session_id, after=after, types=_STEERED, run_id=command.run_id)
        for event in page.events:
            if event.data["steer_id"] == command.steer_id:
                return True, event.data["message"]
        after = page.scanned_to
        if after >= page.head_seq:
            break
    own = await store.find_run(session_id, command.steer_id)
    return None if own is None else (False, own.submitted.data["input"])
