"""What can name something in a database."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.conformance.scenario import facts, note
from moorage.stores.relational.names import TEXT_BYTES_MAX, check_held, check_text, is_text


@pytest.mark.parametrize(
    ("name", "why"),
    [(7, "must be a str"), ("a\0b", "NUL"), ("\ud800", "UTF-8"), ("ü" * 1_001, "bytes of UTF-8")],
)
def test_a_name_that_cannot_be_kept_is_refused(name: object, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        check_text("a name", name)


@pytest.mark.parametrize("name", ["", "ü" * (TEXT_BYTES_MAX // 2), "a" * TEXT_BYTES_MAX])
def test_a_name_that_can_be_kept_passes(name: str) -> None:
    check_text("a name", name)

    assert is_text(name)


@pytest.mark.parametrize("name", [None, 3, "a\0", "\ud800"])
def test_what_cannot_be_kept_cannot_be_asked_for(name: object) -> None:
    assert not is_text(name)


@pytest.mark.parametrize(
    "record", [note(1, "run_submitted", "r\0"), note(1, "run_submitted", "r", key="k\0")]
)
def test_each_name_in_an_append_is_looked_at(record: object) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        check_held("a", [record], None)
    with pytest.raises(InvalidArgument, match=r"session id.*NUL"):
        check_held("a\0", [], facts("a"))
