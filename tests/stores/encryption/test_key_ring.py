"""Master keys wrap data keys, and say which of them is missing or wrong."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.encryption import KeyRing, KeyUnavailable
from moorage.stores.encryption.key_ring import WrappedKey
from moorage.stores.encryption.sealing import new_key

KEY_ID, DATA_KEY = b"8 bytes.", bytes(range(32))


def test_a_wrapped_key_is_unwrapped_by_any_ring_that_has_its_master() -> None:
    old = KeyRing.generate("k1")
    keys = {**_keys(old), "k2": new_key()}
    rotated = KeyRing(keys, current="k2")

    wrapped = WrappedKey(old.wrap("a", KEY_ID, DATA_KEY))

    assert (wrapped.key_id, wrapped.master_id) == (KEY_ID, "k1")
    assert rotated.unwrap("a", wrapped) == DATA_KEY
    assert WrappedKey(rotated.wrap("a", KEY_ID, DATA_KEY)).master_id == "k2"


def test_a_missing_master_key_is_named() -> None:
    wrapped = WrappedKey(KeyRing.generate("k1").wrap("a", KEY_ID, DATA_KEY))

    with pytest.raises(KeyUnavailable, match=r"'k1'.*the ring has \['k2'\]") as caught:
        KeyRing.generate("k2").unwrap("a", wrapped)

    assert caught.value.code == "key_unavailable"
    assert caught.value.key_id == "k1"


def test_another_key_under_the_same_id_is_named() -> None:
    wrapped = WrappedKey(KeyRing.generate("k1").wrap("a", KEY_ID, DATA_KEY))

    with pytest.raises(KeyUnavailable, match=r"'k1'.*another key under this id"):
        KeyRing.generate("k1").unwrap("a", wrapped)


def test_the_key_of_one_session_is_not_that_of_another() -> None:
    ring = KeyRing.generate("k1")
    wrapped = WrappedKey(ring.wrap("a", KEY_ID, DATA_KEY))

    with pytest.raises(KeyUnavailable):
        ring.unwrap("b", wrapped)


def test_what_is_sealed_for_a_moment_is_bound_to_its_purpose_and_session() -> None:
    ring = KeyRing.generate("k1")
    sealed = ring.seal(b"purpose", "a", b"content")

    assert ring.open(b"purpose", "a", sealed) == b"content"
    for purpose, session_id in ((b"other", "a"), (b"purpose", "b"), (b"purposea", "")):
        with pytest.raises(KeyUnavailable):
            ring.open(purpose, session_id, sealed)
    with pytest.raises(KeyUnavailable, match="nothing was sealed"):
        ring.open(b"purpose", "a", b"garbage")


@pytest.mark.parametrize("body", [b"", b"\x91\x01", b"garbage", b"\x94\x02\xc4\x00\xa0\xc4\x00"])
def test_a_body_that_is_no_wrapped_key_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a wrapped key"):
        WrappedKey(body)


def test_a_ring_goes_through_json_and_shows_no_key_in_its_repr() -> None:
    ring = KeyRing({"k1": new_key(), "k2": new_key()}, current="k2")

    again = KeyRing.from_json(ring.to_json())

    assert (_keys(again), again.current) == (_keys(ring), "k2")
    assert repr(again) == "KeyRing(k1, k2; current=k2)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"keys": {}}',
        '{"current": "a", "keys": {"a": "not base64 secret"}}',
        '{"current": "a", "keys": {"a": "c2VjcmV0"}}',
        '{"current": "b", "keys": {}}',
        '{"current": "", "keys": {"": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}',
    ],
)
def test_a_ring_that_cannot_be_read_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        KeyRing.from_json(text)

    assert "secret" not in str(caught.value)


def _keys(ring: KeyRing) -> dict[str, bytes]:
    return dict(ring._keys)


def test_a_rotated_ring_has_every_key_and_a_new_one_that_is_current() -> None:
    ring = KeyRing.generate("one")

    rotated = ring.rotated("two")

    assert (rotated.key_ids, rotated.current) == (("one", "two"), "two")
    assert ring.key_ids == ("one",)
    wrapped = WrappedKey(ring.wrap("a", b"i" * 16, b"k" * 32))
    assert rotated.unwrap("a", wrapped) == b"k" * 32
    with pytest.raises(InvalidArgument, match="give another id"):
        rotated.rotated("one")
