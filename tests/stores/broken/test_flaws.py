"""What several broken stores are made of touches nothing that its flaw does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.stores.broken.flaws import Reading, Reopening
from moorage.stores.conformance import CHECKS, check_store

if TYPE_CHECKING:
    from moorage.runtime.ports import Page
    from trio.testing import MockClock


class ReopensUnchanged(Reopening):
    openings = 0

    def on_open(self) -> None:
        type(self).openings += 1


class ReadsUnchanged(Reading):
    pages = 0

    def change(self, page: Page, **range: Any) -> Page:
        type(self).pages += 1
        return attrs.evolve(page)


async def test_a_flaw_that_changes_nothing_fails_no_check(autojump_clock: MockClock) -> None:
    for store in (ReopensUnchanged, ReadsUnchanged):
        results = await check_store(lambda store=store: store().peer)
        assert [str(result) for result in results if not result.passed] == []
        assert len(results) == len(CHECKS)

    assert ReopensUnchanged.openings > len(CHECKS)
    assert ReadsUnchanged.pages > len(CHECKS)
