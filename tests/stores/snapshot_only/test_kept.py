from __future__ import annotations

import pytest
from moorage.runtime.codec import encode_event, encode_info
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.stores.conformance.scenario import facts
from moorage.stores.snapshot_only import kept as module
from moorage.stores.snapshot_only.kept import KeptIndex, KeptSession, decode_index, decode_session

SESSION = KeptSession(
    "a",
    3,
    (encode_event(5, "run_submitted", "r", {"n": 1}, key="k"), encode_event(6, "t", None, b"\x00")),
    encode_info(facts("a", summary="s")),
    6,
    9,
    Snapshot(4, b"state"),
    {"reader": 4},
)


def test_a_session_comes_back_as_it_was() -> None:
    found = decode_session("a", SESSION.encode())

    assert found == SESSION
    assert found.head_seq == 4


def test_a_log_is_read_like_any() -> None:
    log = SESSION.log()

    assert (log.head_seq, log.oldest_seq, log.modified_at_ns, log.change) == (4, 3, 6, 9)
    assert (log.find_key("k"), log.snapshot, log.cursors) == (
        "r",
        Snapshot(4, b"state"),
        {"reader": 4},
    )
    assert log.info().summary == "s"


def test_an_index_comes_back_as_it_was() -> None:
    index = KeptIndex(7, frozenset({"a", "b"}), {"c": 5})

    assert decode_index("index", index.encode()) == index


def test_every_changed_byte_is_damage() -> None:
    body = SESSION.encode()
    for place in range(len(body)):
        wrong = bytearray(body)
        wrong[place] ^= 1
        with pytest.raises(CorruptLog, match="the snapshot of 'a'"):
            decode_session("a", bytes(wrong))


@pytest.mark.parametrize("body", [b"", b"text", KeptIndex().encode()])
def test_what_is_no_session_is_damage(body: bytes) -> None:
    with pytest.raises(CorruptLog):
        decode_session("a", body)
    with pytest.raises(CorruptLog):
        decode_index("index", SESSION.encode())


def test_a_newer_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    body = SESSION.encode()
    monkeypatch.setattr(module, "FORMAT", 0)

    with pytest.raises(StoreFailed, match="use a newer moorage"):
        decode_session("a", body)
