from __future__ import annotations

import pytest
from moorage.runtime import errors
from moorage.runtime.store_errors import CorruptLog, MigrationRequired, StaleOwner, StoreFailed


@pytest.mark.parametrize("kind", [CorruptLog, MigrationRequired, StaleOwner, StoreFailed])
def test_it_is_the_class_that_stands_among_all_errors(kind: type[Exception]) -> None:
    assert getattr(errors, kind.__name__) is kind


def test_an_owner_whose_epoch_is_over_is_told_which_is_current() -> None:
    error = StaleOwner("s", epoch=3, current="it is 4")

    assert (error.session_id, error.epoch) == ("s", 3)
    assert "it is 4" in str(error)


def test_tables_of_an_older_release_are_nothing_to_retry() -> None:
    error = MigrationRequired("schema 'm'", found=1, needed=2)

    assert (error.found, error.needed, error.written, error.retryable) == (1, 2, False, False)
    assert isinstance(error, StoreFailed)


def test_damage_says_where_it_is_and_what_to_do() -> None:
    error = CorruptLog(file="a.log", offset=12, reason="r")

    assert (error.file, error.offset, error.reason, error.retryable) == ("a.log", 12, "r", False)
    assert "moorage salvage" in str(error)


@pytest.mark.promise(16)
def test_a_store_failure_tells_unknown_outcome_from_nothing_written() -> None:
    assert StoreFailed("m").written is None
    assert StoreFailed("m", written=False).written is False
    assert not StoreFailed("m").poisoned
    corrupt = CorruptLog(file="f", offset=0, reason="r")
    assert (corrupt.written, corrupt.poisoned) == (False, True)


@pytest.mark.promise(16)
def test_who_asks_of_a_poisoned_store_is_told_why_and_that_nothing_was_tried() -> None:
    refused = StoreFailed("sync failed", written=None, poisoned=True).refusal()

    assert (refused.message, refused.written, refused.poisoned) == ("sync failed", False, True)
