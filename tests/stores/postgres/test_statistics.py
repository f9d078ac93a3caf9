"""Statistics start at nothing."""

from __future__ import annotations

import attrs
from moorage.stores.postgres import PostgresStatistics


def test_a_store_that_did_nothing_counts_nothing() -> None:
    assert not any(attrs.astuple(PostgresStatistics()))
