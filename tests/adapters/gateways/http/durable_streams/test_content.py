from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.gateways.http.durable_streams import content
from moorage.adapters.gateways.http.durable_streams.refusals import TooManyMessages
from moorage.adapters.gateways.http.problems import MalformedRequest

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b' {"a": 1}\n', ['{"a": 1}']),
        (b"[1, 2.0,\t3e999 ]", ["1", "2.0", "3e999"]),
        (b'[[1,2],[3] , "a,]"]', ["[1,2]", "[3]", '"a,]"']),
        (b"[]", []),
        (b'["\\ud800", 123456789012345678901234567890]', ['"\\ud800"', "1234567890" * 3]),
        (b"null", ["null"]),
    ],
)
def test_messages_are_kept_exactly_as_they_came(body, messages):
    assert content.messages(body) == messages
    assert content.cut(JSON, body) == messages


@pytest.mark.parametrize("body", [b"{", b"[1,]", b"NaN", b"\xff", b"[" * 100_000, b" "])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(MalformedRequest):
        content.cut(JSON, body)


def test_so_many_messages_are_not_appended_at_once():
    with pytest.raises(TooManyMessages, match="10001 messages"):
        content.cut(JSON, json.dumps([0] * (content.MESSAGES_MAX + 1)).encode())


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)


@given(st.lists(json_values))
def test_a_joined_array_is_what_was_sent(values):
    body = json.dumps(values).encode()

    assert json.loads(content.joined(JSON, content.cut(JSON, body))) == values


@given(st.binary(), st.sampled_from(["text/plain", content.OCTETS]))
def test_bytes_come_back_as_they_were(body, kind):
    assert content.joined(kind, content.cut(kind, body)) == body


@pytest.mark.parametrize("text", ["é" * 100_000, "x" + "€" * 70_000, "𝄞" * 40_000])
def test_a_long_text_is_cut_between_characters(text):
    pieces = content.cut("text/plain", text.encode())

    assert len(pieces) > 1
    assert all(isinstance(piece, str) for piece in pieces)
    assert max(len(content.octets(piece)) for piece in pieces) <= content.PIECE_BYTES
    assert "".join(map(str, pieces)) == text


def test_long_bytes_are_cut_even_if_they_look_like_the_middle_of_a_character():
    body = b"\x80" * (content.PIECE_BYTES * 2 + 1)

    assert b"".join(map(content.octets, content.cut("text/plain", body))) == body
    assert len(content.cut(content.OCTETS, body)) == 3


def test_a_line_of_text_stays_data_whatever_it_says():
    told = content.data_event("text/plain", ["a\r\n\r\nevent: control\rdata: x\n", " b"])

    assert told == (b"event: data\ndata:a\ndata:\ndata:event: control\ndata:data: x\ndata:  b\n\n")


def test_what_is_no_text_is_base64():
    assert content.data_event("image/png", [b"\x00\xff", "A"]) == b"event: data\ndata:AP9B\n\n"
    assert content.data_event(JSON, ["1", "2"]) == b"event: data\ndata:[1,2]\n\n"


def test_sub_offsets_count_messages_or_bytes():
    assert content.size(JSON, '{"a":1}') == 1
    assert content.size("text/plain", "é") == 2


@pytest.mark.parametrize("text", ["", "text", "text/", "/x", "a/b\x7f", "a/" + "b" * 300, "é/x"])
def test_what_is_no_content_type_is_refused(text):
    with pytest.raises(MalformedRequest, match="TYPE/SUBTYPE"):
        content.checked_type(text)


def test_types_are_compared_without_case_and_parameters():
    assert content.media_type("Application/JSON; charset=utf-8") == JSON
    assert content.checked_type(" text/plain; x=1 ") == "text/plain; x=1"
    assert content.is_json("application/json;charset=utf-8")
    assert not content.is_text("application/x-ndjson")
