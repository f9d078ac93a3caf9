"""Running the whole suite gives a report by check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.stores import MemoryStore
from moorage.stores.broken.ownership import StaleEpochAccepted
from moorage.stores.conformance import CHECKS, check_store

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_the_report_has_each_check_with_its_rule(autojump_clock: MockClock) -> None:
    results = await check_store(lambda: MemoryStore().peer)

    assert [result.name for result in results] == [check.__name__ for check in CHECKS]
    assert all(result.passed for result in results)
    assert all(result.rule for result in results)
    assert str(results[0]) == "passed  claim_of_a_new_session_is_empty"


async def test_the_report_says_what_a_check_found(autojump_clock: MockClock) -> None:
    results = await check_store(lambda: StaleEpochAccepted().peer)

    failed = {result.name: str(result) for result in results if not result.passed}
    assert failed["stale_epoch_is_refused"].startswith(
        "FAILED  stale_epoch_is_refused: append under a stale claim did not raise StaleOwner. "
        "The rule: A write under an older epoch"
    )
    assert len(failed) < len(CHECKS)


def test_each_check_states_a_rule_and_has_a_name_of_its_own() -> None:
    assert all(check.__doc__ for check in CHECKS)
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
