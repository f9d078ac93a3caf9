from __future__ import annotations

import attrs
from moorage.adapters.sinks.telemetry.owned_runs import OwnedRuns
from moorage.runtime import SessionInfo, SessionState
from moorage.runtime.ports import Claim


def info(**runs: int) -> SessionInfo:
    return SessionInfo(
        id="s",
        state=SessionState.OPEN,
        tags={},
        metadata={},
        created_at_ns=1,
        modified_at_ns=1,
        head_seq=1,
        runs=runs,
    )


def claim(session_id: str = "s", epoch: int = 1) -> Claim:
    return Claim(session_id, epoch, 0, 1, None, None)


def numbers(owned: OwnedRuns) -> tuple[int, int, int]:
    return owned.queued, owned.running, owned.waiting


def test_numbers_follow_what_is_recorded_of_each_session() -> None:
    owned = OwnedRuns()
    owned.set(claim("a"), info(queued=3, running=1, completed=70))
    owned.set(claim("b"), info(running=1, cancelling=1, waiting=2))
    assert numbers(owned) == (3, 3, 2)

    owned.set(claim("a"), info(queued=1))
    assert numbers(owned) == (1, 2, 2)

    owned.drop(claim("b"))
    owned.drop(claim("b"))
    assert numbers(owned) == (1, 0, 0)
    assert len(owned) == 1

    owned.clear()
    assert numbers(owned) == (0, 0, 0)


def test_an_older_claim_changes_nothing() -> None:
    owned = OwnedRuns()
    owned.set(claim(epoch=5), info(queued=2))

    owned.set(claim(epoch=4), info(queued=9))
    owned.drop(claim(epoch=4))
    assert numbers(owned) == (2, 0, 0)

    owned.set(attrs.evolve(claim(), epoch=6), None)
    assert numbers(owned) == (0, 0, 0)
