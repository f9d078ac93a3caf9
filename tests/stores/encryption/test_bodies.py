"""What is sealed, what stays readable, and that nothing can be moved or changed."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from moorage.runtime.codec import decode_event
from moorage.runtime.errors import CorruptLog
from moorage.runtime.ports import Snapshot
from moorage.runtime.sessions import SessionState
from moorage.stores.conformance.scenario import facts, note
from moorage.stores.encryption import KeyRing, MemoryVault
from moorage.stores.encryption.bodies import (
    open_events,
    open_info,
    open_snapshot,
    seal_info,
    seal_records,
    seal_snapshot,
    sealed_with,
)
from moorage.stores.encryption.session_keys import SessionCipher, SessionKeys

SECRET = "a secret of somebody"


@pytest.fixture
def cipher() -> SessionCipher:
    return trio.run(SessionKeys(KeyRing.generate("k1"), MemoryVault()).add, "a")


def sealed_events(cipher: SessionCipher, *records: Any, session_id: str = "a") -> list[Any]:
    sealed = seal_records(cipher, 1, records)
    return [decode_event(session_id, seq, one.body) for seq, one in enumerate(sealed, 1)]


def test_a_sealed_record_shows_time_type_and_run_and_nothing_else(cipher: SessionCipher) -> None:
    record = note(1, "run_submitted", "r1", key=SECRET, data={"text": SECRET})

    (sealed,) = seal_records(cipher, 1, [record])

    assert sealed[:3] == record[:3]
    assert SECRET.encode() not in sealed.body
    assert (sealed.key, len(sealed.key or "")) == (cipher.hashed(SECRET)[0], 40)
    (event,) = open_events(cipher, [decode_event("a", 1, sealed.body)])
    assert event == decode_event("a", 1, record.body)


def test_events_with_gaps_between_them_are_opened_too(cipher: SessionCipher) -> None:
    events = sealed_events(cipher, *(note(number) for number in range(1, 6)))

    opened = open_events(cipher, events[::2])

    assert [(event.seq, event.data["number"]) for event in opened] == [(1, 1), (3, 3), (5, 5)]
    assert open_events(cipher, []) == []


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 2},
        {"run_id": "r2"},
        {"run_id": None},
        {"type": "message_sent"},
        {"time_ns": 5},
        {"version": 1},
        {"data": {"plain": "text"}},
        {"data": b"\x01"},
    ],
    ids=str,
)
def test_an_event_that_was_moved_or_changed_is_damage(
    cipher: SessionCipher, change: dict[str, Any]
) -> None:
    (event,) = sealed_events(cipher, note(1, "message_received", "r1"))

    with pytest.raises(CorruptLog, match="session 'a' is damaged at offset"):
        open_events(cipher, [attrs.evolve(event, **change)])


def test_two_events_that_changed_places_are_damage(cipher: SessionCipher) -> None:
    one, two = sealed_events(cipher, note(1), note(2))
    swapped = [attrs.evolve(one, data=two.data), attrs.evolve(two, data=one.data)]

    with pytest.raises(CorruptLog):
        open_events(cipher, swapped)


def test_an_info_shows_state_and_counts_and_hides_what_people_wrote(cipher: SessionCipher) -> None:
    info = facts(
        "a",
        state=SessionState.CLOSED,
        tags={SECRET: SECRET},
        metadata={SECRET: [SECRET]},
        summary=SECRET,
        reason=SECRET,
        outcome="failed",
        runs={"queued": 1, "completed": 2},
        slots=3,
    )

    sealed = seal_info(cipher, info)

    assert SECRET not in repr(sealed)
    assert (sealed.state, sealed.runs, sealed.slots, sealed.outcome) == (
        info.state,
        info.runs,
        3,
        "failed",
    )
    assert sealed_with(sealed) == cipher.writes_with
    assert open_info(cipher, sealed) == info
    reordered = attrs.evolve(sealed, runs={"completed": 2, "queued": 1}, head_seq=9)
    assert open_info(cipher, reordered) == attrs.evolve(info, head_seq=9)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"},
        {"state": SessionState.OPEN},
        {"runs": {}},
        {"metadata": {}},
        {"closed_at_ns": None},
        {"deleted_at_ns": 6},
        {"deleted_at_ns": None},
        {"expire_after_seconds": 1.0},
    ],
    ids=str,
)
def test_an_info_that_was_moved_or_changed_is_damage(
    cipher: SessionCipher, change: dict[str, Any]
) -> None:
    info = facts(
        "a",
        state=SessionState.CLOSED,
        runs={"queued": 1},
        closed_at_ns=5,
        deleted_at_ns=5,
        expire_after_seconds=math.inf,
    )

    assert open_info(cipher, seal_info(cipher, info)) == info
    with pytest.raises(CorruptLog, match="info"):
        open_info(cipher, attrs.evolve(seal_info(cipher, info), **change))


async def test_an_info_whose_key_is_gone_is_shown_as_quarantined(cipher: SessionCipher) -> None:
    other = await SessionKeys(KeyRing.generate("k1"), MemoryVault()).of("a")
    info = facts("a", tags={SECRET: SECRET}, runs={"queued": 1})

    shown = open_info(other, seal_info(cipher, info))

    assert (shown.state, shown.needs_worker, shown.tags) == (SessionState.QUARANTINED, False, {})
    assert "was destroyed" in (shown.reason or "")
    assert sealed_with(facts("a")) is None
    assert sealed_with(facts("a", metadata={"moorage.sealed": b"short"})) is None


def test_a_snapshot_is_bound_to_its_seq(cipher: SessionCipher) -> None:
    sealed = seal_snapshot(cipher, Snapshot(7, b"state"))

    assert open_snapshot(cipher, sealed) == Snapshot(7, b"state")
    for changed in (Snapshot(8, sealed.body), Snapshot(7, b"state")):
        with pytest.raises(CorruptLog, match="snapshot"):
            open_snapshot(cipher, changed)
