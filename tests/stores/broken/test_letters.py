"""Each store that is wrong about commands of other processes fails its check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores.broken import BROKEN_STORES, letters
from moorage.stores.broken.flaws import content_of
from moorage.stores.conformance import CHECKS, Nonconformance

if TYPE_CHECKING:
    from moorage.stores.broken.flaws import Kind
    from trio.testing import MockClock

HERE = [broken for broken in BROKEN_STORES if broken.__module__ == letters.__name__]


@pytest.mark.parametrize("broken", HERE, ids=lambda broken: broken.__name__)
async def test_a_broken_store_fails_its_check(broken: Kind, autojump_clock: MockClock) -> None:
    name = BROKEN_STORES[broken]
    content = content_of(broken, lease_seconds=10.0)
    check = next(check for check in CHECKS if check.__name__ == name)

    with pytest.raises(Nonconformance, match=name):
        await check(content)
