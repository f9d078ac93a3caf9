from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.codec import decode_event, encode_event, encode_info, pack
from moorage.runtime.errors import CorruptLog
from moorage.runtime.events import same_data
from moorage.runtime.ports import Record
from moorage.stores.conformance.scenario import facts
from moorage.stores.jsonl.lines import (
    Damage,
    Head,
    close,
    closing,
    crc_of,
    event_line,
    info_from_json,
    info_to_json,
    note_line,
    parse,
    read_event,
    read_head,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["content", "role", "$line", "$bytes", "crc"]),
            inner,
            max_size=3,
        )
    ),
)


@given(
    type=st.text(max_size=5) | st.sampled_from(["message_sent", "message_received"]),
    run_id=st.none() | st.text(max_size=5),
    data=PLAIN,
    metadata=st.none() | st.dictionaries(st.text(max_size=3), PLAIN, max_size=2),
    version=st.integers(1, 3),
    key=st.none() | st.text(max_size=5),
    time_ns=st.integers(-(2**63), 2**63 - 1),
)
def test_every_event_comes_back_from_one_line_as_it_was(
    type: str,
    run_id: str | None,
    data: Any,
    metadata: Any,
    version: int,
    key: str | None,
    time_ns: int,
) -> None:
    record = encode_event(time_ns, type, run_id, data, metadata, version=version, key=key)

    line = event_line(7, record)

    assert b"\n" not in line
    assert len(line.decode().splitlines()) == 1
    assert read_head(line) == Head(7, time_ns, type, run_id, key)
    found, expected = read_event("a", line), decode_event("a", 7, record.body)
    assert same_data([found.data, found.metadata], [expected.data, expected.metadata])
    assert (found.seq, found.time_ns, found.type, found.run_id, found.version) == (
        (7, time_ns, type, run_id, version)
    )
    again = encode_event(
        found.time_ns,
        found.type,
        found.run_id,
        found.data,
        found.metadata,
        version=version,
        key=key,
    )
    assert again == record or any(math.isnan(value) for value in _floats([data, metadata]))


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in _floats(item)]
    if isinstance(value, list):
        return [found for item in value for found in _floats(item)]
    return [value] if isinstance(value, float) else []


def test_messages_have_role_and_content_at_the_top_level() -> None:
    sent = encode_event(0, "message_sent", "r", {"role": "system", "content": "Be brief."})
    asked = encode_event(0, "message_sent", "r", {"content": [{"type": "text", "text": "Hi"}]})
    received = encode_event(0, "message_received", "r", {"content": "Hello", "model": "m"})

    lines = [json.loads(event_line(1, record)) for record in (sent, asked, received)]

    assert [(line["role"], line["content"]) for line in lines] == [
        ("system", "Be brief."),
        ("user", [{"type": "text", "text": "Hi"}]),
        ("assistant", "Hello"),
    ]
    assert lines[2]["data"] == {"content": {"$line": "content"}, "model": "m"}
    assert event_line(1, received).count(b"Hello") == 1


def test_other_events_have_no_role() -> None:
    for type, data in (("message_streamed", {"delta": "x"}), ("message_sent", "plain"), ("x", {})):
        assert "role" not in json.loads(event_line(1, encode_event(0, type, None, data)))


@pytest.mark.parametrize(
    "body",
    [
        pack([5, "t", "r", {}, None, 1, "a field of a later version"]),
        pack([6, "another", "r", {}, None, 1]),
        b"\xc1",
        b"",
        b"\x96\x05\xa1t\xa1r\xca\x3f\x80\x00\x00\xc0\x01",
    ],
    ids=["longer", "other", "damaged", "empty", "float of 32 bits"],
)
def test_a_body_that_a_line_cannot_tell_is_kept_as_bytes(body: bytes) -> None:
    line = event_line(3, Record(5, "t", "r", body))

    assert json.loads(line)["body"].keys() == {"$bytes"}
    assert read_head(line) == Head(3, 5, "t", "r", None)


def test_a_body_of_bytes_is_decoded_like_any() -> None:
    later = event_line(3, Record(5, "t", "r", pack([5, "t", "r", {"a": 1}, None, 9, "new"])))

    assert read_event("a", later).version == 9
    with pytest.raises(CorruptLog, match="cannot be decoded"):
        read_event("a", event_line(3, Record(5, "t", "r", b"\xc1")))


def test_a_time_is_shown_as_people_write_it() -> None:
    line = json.loads(event_line(1, encode_event(1_777_627_800_125_999_999, "t", None, None)))

    assert (line["time"], line["time_ns"]) == ("2026-05-01T09:30:00.125Z", 1777627800125999999)


def test_the_last_line_of_a_batch_closes_it() -> None:
    first, second = (event_line(n, encode_event(n, "t", None, n)) for n in (1, 2))

    *open_lines, last = close([first, second], "a", 17).splitlines()

    assert open_lines == [first]
    assert closing(first) is None
    end = closing(last)
    assert end is not None
    assert end.commit == 17
    assert end.crc == crc_of(first + b"\n" + last[: end.start], "a")
    assert end.crc != crc_of(first + b"\n" + last[: end.start], "b")
    assert json.loads(last)["crc"] == f"{end.crc:08x}"


def test_the_info_goes_with_the_last_event() -> None:
    info = encode_info(facts("a", tags={"tenant": "acme"}, metadata={"raw": b"\x00"}))

    line = event_line(1, encode_event(1, "t", None, None), info)

    assert parse(line)["info"]["tags"] == {"tenant": "acme"}
    assert info_from_json(parse(line)["info"]) == info
    assert parse(note_line(info=info_to_json(info)))["info"] == parse(line)["info"]


def test_what_a_user_says_closes_nothing() -> None:
    said = {"content": 'x","commit":1,"crc":"00000000"}', "commit": 1, "crc": "00000000"}

    assert closing(event_line(1, encode_event(1, "message_sent", None, said))) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"{", "not JSON"), (b"[]", "not a JSON object"), (b"[" * 200_000, "not JSON")],
    ids=["torn", "array", "deep"],
)
def test_a_line_that_is_no_object_is_damage(line: bytes, reason: str) -> None:
    with pytest.raises(Damage, match=reason):
        parse(line)


def test_a_line_of_no_event_has_no_head() -> None:
    assert read_head(b'{"trim":5}') is None
    with pytest.raises(Damage, match="does not begin as it should"):
        read_head(b'{"seq":1,"type":"x"}')


@pytest.mark.parametrize(
    "line", [b'{"seq":1}', b'{"type":"t","data":{"$x":1}}', b'{"type":"t","content":1,"data":2}']
)
def test_a_line_of_an_event_that_lacks_something_is_damage(line: bytes) -> None:
    with pytest.raises(Damage, match="not an event"):
        read_event("a", line)


def test_what_is_no_info_is_damage() -> None:
    with pytest.raises(Damage, match="not the info"):
        info_from_json({"id": 5})
