"""What a store cannot hold is named, with the limit."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import InvalidArgument
from moorage.stores.bounds import (
    NAME_BYTES_MAX,
    SEQ_MAX,
    check_append,
    check_limit,
    check_name,
    check_seq,
)
from moorage.stores.conformance.scenario import facts
from moorage.stores.journal import format as fmt

RECORD = encode_event(1, "run_submitted", "r1", {}, key="k")


def test_the_largest_of_everything_can_be_held() -> None:
    largest = "ü" * (NAME_BYTES_MAX // 2)

    check_name("key", largest)
    check_seq("seq", 0)
    check_seq("seq", SEQ_MAX)
    check_limit(1)
    for time_ns in (2**63 - 1, -(2**63)):
        record = RECORD._replace(time_ns=time_ns, run_id=largest, key=largest)
        check_append(largest, [record], facts("a"))
    check_append("a", [RECORD._replace(run_id=None, key=None)], None)

    assert SEQ_MAX == fmt.SEQ_MAX


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * (NAME_BYTES_MAX + 1), "key is 65535 bytes of UTF-8 and the limit is 65534: 'xxx"),
        ("ü" * (NAME_BYTES_MAX // 2 + 1), "key is 65536 bytes of UTF-8"),
        ("a\ud800", r"without surrogates: 'a\\ud800'"),
        (7, "key must be a str, not 7"),
    ],
)
def test_a_name_that_is_too_long_or_no_text_is_refused(name: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        check_name("key", name)


@pytest.mark.parametrize("seq", [-1, SEQ_MAX + 1, 1.0, True, None])
def test_a_seq_is_a_whole_number_of_48_bits(seq: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"the cursor must be .* to {SEQ_MAX}, not {seq}"):
        check_seq("the cursor", seq)


@pytest.mark.parametrize("limit", [0, -1, 1.0, True, None])
def test_a_page_has_room_for_one_event_at_least(limit: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"limit must be .* at least 1, not {limit}"):
        check_limit(limit)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_ns": 2**63}, f"time_ns of 'run_submitted' .* to {2**63 - 1}, not {2**63}"),
        ({"time_ns": -(2**63) - 1}, "time_ns of 'run_submitted'"),
        ({"time_ns": 1.5}, "time_ns of 'run_submitted'"),
        ({"body": None}, "the body of 'run_submitted' must be bytes, not None"),
        ({"run_id": "\udfff"}, "run id must be text"),
        ({"key": "k" * 70_000}, "key is 70000 bytes"),
    ],
)
def test_each_record_of_an_append_is_looked_at(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        check_append("a", [RECORD, RECORD._replace(**changes)], None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modified_at_ns": 2**63}, "modified_at_ns of session 'a' must be from"),
        ({"tags": {"x": "\ud800"}}, "the info of session 'a' cannot be kept"),
        ({"metadata": {"x": {1, 2}}}, "the info of session 'a' cannot be kept"),
        ({"metadata": {"x": 2**64}}, "the info of session 'a' cannot be kept"),
    ],
)
def test_an_info_is_looked_at_as_a_whole(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        check_append("a", [], attrs.evolve(facts("a"), **changes))
