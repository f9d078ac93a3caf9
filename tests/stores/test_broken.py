"""Which check each broken store fails is complete and true."""

from __future__ import annotations

import inspect

from moorage.stores import MemoryStore
from moorage.stores.broken import (
    BROKEN_STORES,
    appending,
    failing,
    keeping,
    letters,
    ordering,
    ownership,
    placing,
    reading,
    refusing,
    waiting,
)
from moorage.stores.broken.flaws import Durable, Reading, Reopening
from moorage.stores.broken.ordering import Ordered
from moorage.stores.conformance import CHECKS
from moorage.stores.faults import FaultyStore


def test_every_check_is_failed_by_some_broken_store() -> None:
    assert set(BROKEN_STORES.values()) == {check.__name__ for check in CHECKS}


def test_every_broken_store_is_in_the_table_and_says_what_is_wrong_with_it() -> None:
    found = {
        value
        for module in (
            appending,
            failing,
            keeping,
            letters,
            ordering,
            ownership,
            placing,
            reading,
            refusing,
            waiting,
        )
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, (MemoryStore, FaultyStore))
    } - {MemoryStore, FaultyStore, Durable, Ordered, Reading, Reopening}

    assert found == set(BROKEN_STORES)
    assert all(broken.__doc__ for broken in found)
