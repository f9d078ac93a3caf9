"""What several broken stores are made of touches nothing that its flaw does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.stores import MemoryStore
from moorage.stores.broken.flaws import Durable, Reading, Reopening, content_of
from moorage.stores.conformance import CHECKS, check_store
from moorage.stores.faults import FaultyStore

if TYPE_CHECKING:
    from moorage.runtime.ports import Page
    from moorage.stores.memory_reader import MemoryContent
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


class DurableAtOnce(Durable):
    crashes = 0

    def durable(self) -> MemoryContent:
        type(self).crashes += 1
        return self._content


async def test_a_flaw_that_changes_nothing_fails_no_check(autojump_clock: MockClock) -> None:
    for kind in (MemoryStore, FaultyStore, ReopensUnchanged, ReadsUnchanged, DurableAtOnce):
        results = await check_store(lambda kind=kind: content_of(kind))
        assert [str(result) for result in results if not result.passed] == []
        assert len(results) == len(CHECKS)

    assert ReopensUnchanged.openings > len(CHECKS)
    assert ReadsUnchanged.pages > len(CHECKS)
    assert DurableAtOnce.crashes > 1
