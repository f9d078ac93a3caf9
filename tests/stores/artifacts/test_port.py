"""Keys that any place can hold."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.artifacts.port import (
    ArtifactMissing,
    ArtifactsFailed,
    ArtifactsRefused,
    check_key,
    check_piece,
)


@pytest.mark.parametrize("key", ["a", "ses_1/0a1b", "~hash/x.y", "A=+-_~/b", "a" * 200])
def test_keys_of_parts_are_taken(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "/", "a/", "..", "a/.hidden", "a b", "é", "a" * 201, b"a"])
def test_other_keys_are_refused_with_the_part_that_is_wrong(key: object) -> None:
    with pytest.raises(InvalidArgument, match="key"):
        check_key(key)


def test_pieces_are_bytes_of_any_kind() -> None:
    assert check_piece(bytearray(b"x")) == check_piece(memoryview(b"x")) == b"x"
    with pytest.raises(InvalidArgument, match="bytes, not str"):
        check_piece("x")


def test_errors_say_whether_trying_again_may_help() -> None:
    assert (ArtifactsFailed.retryable, ArtifactsRefused.retryable) == (True, False)
    assert ArtifactMissing("k", where="there").key == "k"
