"""Sealing: what is opened is what was sealed, or nothing."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.encryption.sealing import (
    OVERHEAD_BYTES,
    NotSealed,
    Opener,
    Sealer,
    check_key,
    key_id_of,
    new_key,
    new_key_id,
)

ID = b"8 bytes."


def test_what_was_sealed_is_opened_with_the_same_key_and_associated_data() -> None:
    key = new_key()
    sealer = Sealer(key, ID)

    sealed = [sealer.seal(content, b"here") for content in (b"", b"one", b"x" * 100_000)]

    opener = Opener(key)
    assert [opener.open(one, b"here") for one in sealed] == [b"", b"one", b"x" * 100_000]
    assert [len(one) for one in sealed] == [size + OVERHEAD_BYTES for size in (0, 3, 100_000)]
    assert {key_id_of(one) for one in sealed} == {ID}


def test_any_changed_byte_is_found_out() -> None:
    key = new_key()
    sealed = Sealer(key, ID).seal(b"content", b"here")

    for at in range(9, len(sealed)):  # the format and the key id choose the opener
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(NotSealed):
            Opener(key).open(changed, b"here")


def test_another_place_and_another_key_open_nothing() -> None:
    sealed = Sealer(new_key(), ID).seal(b"content", b"here")

    with pytest.raises(NotSealed):
        Opener(new_key()).open(sealed, b"here")
    key = new_key()
    with pytest.raises(NotSealed):
        Opener(key).open(Sealer(key, ID).seal(b"content", b"here"), b"there")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + bytes(60), bytes(60)])
def test_what_is_in_no_known_format_has_no_key(sealed: bytes) -> None:
    with pytest.raises(NotSealed, match="format"):
        key_id_of(sealed)


def test_no_nonce_comes_twice_under_one_key() -> None:
    key = new_key()
    sealers = [Sealer(key, ID) for _ in range(50)]

    used = [sealer.seal(b"same", b"")[:33] for sealer in sealers for _ in range(50)]

    assert len(set(used)) == len(used)


def test_an_opener_forgets_writers_and_opens_theirs_again() -> None:
    key = new_key()
    sealed = [Sealer(key, ID).seal(b"%d" % number, b"") for number in range(200)]
    opener = Opener(key)

    opened = [opener.open(one, b"") for one in sealed + sealed[::-1]]

    assert opened == [b"%d" % number for number in [*range(200), *range(199, -1, -1)]]


@pytest.mark.parametrize("key", ["secret" * 6, b"short-secret", None])
def test_a_key_that_is_none_is_refused_without_being_shown(key: object) -> None:
    with pytest.raises(InvalidArgument, match="must be 32 bytes") as caught:
        check_key("key 'k'", key)

    assert "secret" not in str(caught.value)
    assert len(new_key_id()) == 8
