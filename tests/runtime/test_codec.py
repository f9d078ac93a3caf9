from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import math
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from moorage.runtime import codec
from moorage.runtime.errors import CorruptLog, InvalidArgument, RecordTooLarge
from moorage.runtime.events import UPCASTERS, Event
from moorage.runtime.image import RunRecord, SessionImage
from moorage.runtime.runs import RunState
from moorage.runtime.sessions import SessionInfo, SessionState

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


class Colour(str, enum.Enum):
    """A str that is more than a str."""

    RED = "red"


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = [value]
    return value


# ---- plain data ----


@given(plain)
@example({"": [None, True, -(2**63), 2**64 - 1, 0.5, "é", b"\x00", {}, []]})
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    again = codec.unpack(codec.pack(value))

    assert value == again
    assert repr(value) == repr(again)  # True is not 1 and 1 is not 1.0


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ((1, 2), "data is a builtins.tuple"),
        ({1, 2}, "data is a builtins.set"),
        ({"a": [0, bytearray(b"")]}, "data['a'][1] is a builtins.bytearray"),
        ([{"when": datetime.datetime(2030, 1, 1)}], "data[0]['when'] is a datetime.datetime"),
        ({"a": {7: "x"}}, "data['a'] has the key 7 of type int"),
        ({b"k": 1}, "has the key b'k' of type bytes"),
        (2**64, "data is an integer outside 64 bits"),
        ([-(2**63) - 1], "data[0] is an integer outside 64 bits"),
        ({"a": Colour.RED}, "data['a'] is a"),
        ({Colour.RED: 1}, "of type Colour"),
        (collections.OrderedDict(a=1), "data is a collections.OrderedDict"),
        (object(), "data is a builtins.object"),
        (msgpack.ExtType(1, b""), "ExtType"),
        (nested(102), "nested more than 100 deep"),
        ("\ud800", "data cannot be encoded"),
        ({"\udfff": 1}, "data cannot be encoded"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(value: Any, place: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        codec.pack(value)

    assert place in str(caught.value)


def test_a_cycle_is_refused_and_not_followed_for_ever() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)

    with pytest.raises(InvalidArgument, match="nested more than 100 deep"):
        codec.check_plain(cycle)


def test_after_a_refusal_the_next_value_is_encoded_from_the_beginning() -> None:
    with pytest.raises(InvalidArgument):
        codec.pack(["begun", "\ud800"])

    assert codec.unpack(codec.pack(["whole"])) == ["whole"]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x01\x02", b"\x92\x01", b"\x81\x01\x02"])
def test_bytes_that_are_no_plain_value_raise_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        codec.unpack(body)


def test_a_private_copy_shares_nothing_with_the_callers() -> None:
    value = {"messages": ["one"]}

    copy, size = codec.private_copy(value, "input", bytes_max=100)
    value["messages"].append("two")

    assert copy == {"messages": ["one"]}
    assert len(codec.pack(copy)) == size


@pytest.mark.promise(17)
def test_a_copy_may_be_exactly_as_large_as_the_limit() -> None:
    size = len(codec.pack("x" * 50))

    assert size == codec.private_copy("x" * 50, "input", bytes_max=size)[1]
    with pytest.raises(RecordTooLarge) as caught:
        codec.private_copy("x" * 50, "input", bytes_max=size - 1)
    assert (size, size - 1) == (caught.value.size, caught.value.limit)


# ---- events ----


@given(
    time_ns=st.integers(0, 2**63 - 1),
    type=st.text(min_size=1),
    run_id=st.none() | st.text(),
    data=plain,
    metadata=st.none() | st.dictionaries(st.text(), plain, max_size=3),
    version=st.integers(1, 9),
)
def test_every_event_round_trips_alone_and_in_a_block(
    time_ns: int,
    type: str,
    run_id: str | None,
    data: Any,
    metadata: dict[str, Any] | None,
    version: int,
) -> None:
    record = codec.encode_event(time_ns, type, run_id, data, metadata, version=version, key="k")

    expected = Event("s", 7, time_ns, type, run_id, data, metadata, version)
    assert (time_ns, type, run_id, "k") == (record.time_ns, record.type, record.run_id, record.key)
    assert expected == codec.decode_event("s", 7, record.body)
    both = codec.decode_events("s", 7, [record.body, record.body])
    assert [expected, attrs.evolve(expected, seq=8)] == both


@pytest.mark.promise(17)
def test_an_event_may_be_exactly_as_large_as_the_limit() -> None:
    size = len(codec.encode_event(1, "t", None, "x" * 50).body)

    assert size == len(codec.encode_event(1, "t", None, "x" * 50, bytes_max=size).body)
    with pytest.raises(RecordTooLarge, match="event 't' is"):
        codec.encode_event(1, "t", None, "x" * 50, bytes_max=size - 1)


@pytest.mark.parametrize(
    ("data", "metadata", "why"),
    [
        (object(), None, "data is a"),
        (None, {"at": (1,)}, r"metadata\['at'\] is a builtins.tuple"),
        ("\ud800", None, "data of 'note' cannot be encoded"),
    ],
)
def test_an_event_that_cannot_be_kept_is_refused(data: Any, metadata: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        codec.encode_event(1, "note", None, data, metadata)


def test_a_later_versions_additional_fields_are_ignored() -> None:
    body = msgpack.packb([1, "note", None, {}, None, 1, "a field of tomorrow"])

    assert Event("s", 3, 1, "note", None, {}) == codec.decode_event("s", 3, body)


@pytest.mark.promise(15)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x00" * 8,
        b"\xc1",
        msgpack.packb([1, "note", None, {}, None]),
        msgpack.packb({"not": "an event"}),
        msgpack.packb([1, "note", None, {1: 2}, None, 1]),
        msgpack.packb([1, "note", None, {}, None, "1"]),
    ],
    ids=["empty", "number", "zeros", "reserved", "short", "map", "int key", "text version"],
)
def test_bytes_that_are_no_event_are_told_as_damage_with_their_place(body: bytes) -> None:
    if body == b"\x00" * 8:  # in a block zeros are numbers
        with pytest.raises(CorruptLog):
            codec.decode_block("s", 5, body)
    with pytest.raises(CorruptLog) as caught:
        codec.decode_event("s", 5, body)

    assert (caught.value.file, caught.value.offset) == ("session 's'", 5)


def test_damage_inside_a_block_names_the_event_that_is_damaged() -> None:
    good = codec.encode_event(1, "note", None, {}).body

    with pytest.raises(CorruptLog) as caught:
        codec.decode_events("s", 5, [good, msgpack.packb([1])])
    assert caught.value.offset == 6
    with pytest.raises(CorruptLog) as caught:
        codec.decode_events("s", 5, [good, b"\xc1"])
    assert caught.value.offset == 5


def test_a_missing_upcaster_is_told_as_damage() -> None:
    body = codec.encode_event(1, "run_started", None, {}, version=0).body

    assert ("run_started", 0) not in UPCASTERS
    with pytest.raises(CorruptLog, match="run_started"):
        codec.decode_event("s", 1, body)


@given(st.binary(max_size=60))
def test_no_bytes_make_decoding_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(CorruptLog):
        codec.decode_event("s", 1, body)


# ---- our own structures ----

INFO = SessionInfo(
    id="s",
    state=SessionState.CLOSED,
    tags={"tenant": "acme"},
    metadata={"nested": {"list": [1, b"2"]}},
    created_at_ns=1,
    modified_at_ns=2,
    head_seq=3,
    runs={"completed": 2},
    summary="first words",
    slots=4,
    outcome="completed",
    reason="done",
    timed_waits=1,
    closed_at_ns=5,
    deleted_at_ns=6,
    expire_after_seconds=math.inf,
    node_tags={"region": "eu"},
    agents=("", "coder"),
)

BARE = attrs.evolve(
    INFO,
    summary=None,
    outcome=None,
    reason=None,
    slots=1,
    timed_waits=0,
    closed_at_ns=None,
    deleted_at_ns=None,
    expire_after_seconds=None,
    node_tags={},
    agents=(),
)


@pytest.mark.parametrize(
    "info",
    [INFO, BARE],
    ids=["full", "bare"],
)
def test_session_infos_round_trip(info: SessionInfo) -> None:
    assert info == codec.decode_struct(codec.encode_struct(info), SessionInfo)


def test_every_field_of_a_session_info_is_encoded() -> None:
    assert {field.name for field in attrs.fields(SessionInfo)} == set(
        codec.unpack(codec.encode_struct(INFO))
    )


def test_a_sessions_image_round_trips_with_its_enums() -> None:
    run = RunRecord("run_1", 2, 5, {"prompt": b"\x00"}, 10, state=RunState.CANCELLING)
    image = SessionImage(
        "s", head_seq=9, state=SessionState.PAUSED, state_before=None, runs={"run_1": run}
    )

    again = codec.decode_struct(codec.encode_struct(image), SessionImage)

    assert image == again
    assert again.state is SessionState.PAUSED
    assert again.runs["run_1"].state is RunState.CANCELLING


def test_unknown_fields_of_a_structure_are_ignored() -> None:
    fields = codec.unpack(codec.encode_struct(INFO)) | {"field_of_tomorrow": 1}

    assert codec.decode_struct(codec.pack(fields), SessionInfo) == INFO


@pytest.mark.promise(15)
@pytest.mark.parametrize(
    "change",
    [
        {"head_seq": "3"},
        {"head_seq": 3.0},
        {"head_seq": True},
        {"id": 5},
        {"state": "asleep"},
        {"state": 1},
        {"tags": {"tenant": 7}},
        {"runs": {"completed": "2"}},
        {"summary": 5},
        {"tags": None},
    ],
    ids=str,
)
def test_a_stored_value_of_another_type_is_refused_and_not_converted(change: Any) -> None:
    fields = codec.unpack(codec.encode_struct(INFO)) | change

    with pytest.raises(ValueError, match="not a SessionInfo"):
        codec.decode_struct(codec.pack(fields), SessionInfo)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", codec.pack([1]), codec.pack(None)])
def test_bytes_that_are_no_structure_raise_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a SessionInfo"):
        codec.decode_struct(body, SessionInfo)


@given(plain)
def test_a_copy_of_plain_data_is_equal_and_shares_nothing(value: Any) -> None:
    original = {"value": value, "list": [1]}

    copy = codec.copy_plain(original)
    original["list"].append(2)

    assert copy["list"] == [1]
    assert codec.pack(copy["value"]) == codec.pack(value)


def test_checked_data_is_encoded_as_the_unchecked_is() -> None:
    event = (7, "run_started", "run_1", {"attempt": 1})

    assert codec.encode_event(*event, checked=True) == codec.encode_event(*event)


# ---- what an agent emits ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "run_completed"}, "written by the session itself"),
        ({"type": ""}, "event type must not be empty"),
        ({"type": 5}, "event type must be a str"),
        ({"metadata": [1]}, "metadata must be a dict, not \\[1\\]"),
        ({"time_ns": -1}, "time_ns must be whole nanoseconds since 1970, .* not -1"),
        ({"time_ns": 1.5}, "time_ns must be whole nanoseconds since 1970, .* not 1.5"),
        ({"time_ns": 2**63}, f"from 0 to {2**63 - 1}, not {2**63}"),
        ({"data": {1, 2}}, "data is a builtins.set"),
    ],
)
def test_what_an_agent_must_not_emit_is_refused(changes: dict[str, Any], message: str) -> None:
    emitted: dict[str, Any] = {"time_ns": 1, "type": "x", "data": None, "metadata": None}

    codec.encode_emitted(run_id="r", bytes_max=100, **emitted)
    with pytest.raises(InvalidArgument, match=message):
        codec.encode_emitted(run_id="r", bytes_max=100, **{**emitted, **changes})


def test_an_emitted_event_over_the_limit_is_refused_with_both_numbers() -> None:
    with pytest.raises(RecordTooLarge) as caught:
        codec.encode_emitted(1, "x", "r", b"\x00" * 100, None, bytes_max=100)

    assert (caught.value.limit, caught.value.size) == (100, 110)


def test_a_session_s_info_is_encoded_as_any_structure_is() -> None:
    told = attrs.evolve(INFO, summary="s", outcome="failed", reason="r")

    for info in (INFO, told):
        assert codec.encode_info(info) == codec.encode_struct(info)


def test_more_types_than_are_remembered_are_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_CHECKED_TYPES", set())
    monkeypatch.setattr(codec, "_CHECKED_TYPES_MAX", 2)

    for type in ("a", "b", "c", "c"):
        codec.encode_emitted(1, type, "r", None, None, bytes_max=100)
    with pytest.raises(InvalidArgument, match="written by the session itself"):
        codec.encode_emitted(1, "run_failed", "r", None, None, bytes_max=100)

    assert {"a", "b"} == codec._CHECKED_TYPES


def test_data_that_is_known_to_be_plain_is_packed_as_any_other():
    value = {"b": b"\0", "n": [1, -1, 2**64 - 1, 0.5, None, True], "t": "ä"}

    assert codec.pack_plain(value) == codec.pack(value)
