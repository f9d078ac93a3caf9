from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.operations import Operation, Parameter
from moorage.adapters.gateways.http.problems import InvalidRequest, MalformedRequest
from moorage.adapters.gateways.http.schemas import TAG, many, nullable, record, seconds, text, whole
from moorage.adapters.gateways.http.validation import check_body, read_json, read_parameters

OPERATION = Operation(
    id="x",
    method="POST",
    path="/x",
    summary="",
    tag="",
    scope=None,
    handler=lambda call: None,
    answers={},
    body=record(
        {
            "name": text(maximum=5),
            "count": whole(minimum=1, maximum=9),
            "kind": {"type": "string", "enum": ["a", "b"]},
            "inner": record({"deep": {"type": "boolean"}}),
            "list": many(whole(), minimum=1, maximum=2),
            "maybe": nullable(text()),
            "tag": TAG,
            "coded": {"type": "string", "pattern": "^[a-z]*$"},
        },
        required=("name",),
    ),
    parameters=(
        Parameter(name="number", schema=seconds(maximum=9), description=""),
        Parameter(name="whole", schema=whole(maximum=9), description=""),
        Parameter(name="flag", schema={"type": "boolean"}, description=""),
        Parameter(name="many", schema=many(text(), maximum=3), description="", many=True),
        Parameter(name="X-Header", schema=text(maximum=3), description="", place="header"),
    ),
)


@pytest.mark.parametrize(
    ("body", "field", "value", "expected"),
    [
        ({"name": "too long"}, "/name", '"too long"', "at most 5 characters"),
        ({"name": ""}, "/name", '""', "at least 1 characters"),
        ({"name": 5}, "/name", "5", "string"),
        ({}, "/name", "missing", "required"),
        ({"name": "x", "count": 10}, "/count", "10", "at most 9"),
        ({"name": "x", "count": 0}, "/count", "0", "at least 1"),
        ({"name": "x", "count": True}, "/count", "true", "integer"),
        ({"name": "x", "kind": "c"}, "/kind", '"c"', 'one of "a", "b"'),
        ({"name": "x", "inner": {"deep": 1}}, "/inner/deep", "1", "boolean"),
        ({"name": "x", "inner": {"a/b~": 1}}, "/inner/a~1b~0", "1", "one of the fields deep"),
        ({"name": "x", "list": [1, "2"]}, "/list/1", '"2"', "integer"),
        ({"name": "x", "list": [1, 2, 3]}, "/list", "[1, 2, 3]", "at most 2 items"),
        ({"name": "x", "tag": "plan"}, "/tag", '"plan"', "NAME=VALUE"),
        ({"name": "x", "coded": "?"}, "/coded", '"?"', "another text"),
        ({"name": "x", "maybe": 1}, "/maybe", "1", "string or null"),
        ([], "the body", "[]", "object"),
        (None, "the body", "null", "object"),
    ],
)
def test_what_is_wrong_is_told_by_field_value_and_what_is_expected(body, field, value, expected):
    with pytest.raises(InvalidRequest) as refused:
        check_body(OPERATION, body)

    (error,) = refused.value.errors
    assert (error["field"], error["value"]) == (field, value)
    assert expected in error["expected"]


def test_whole_numbers_come_as_such_however_they_are_written():
    bodies = [
        check_body(OPERATION, read_json(b'{"name": "x", "count": ' + text + b"}"))
        for text in (b"3", b"3.0", b"3e0")
    ]

    assert [(body, type(body["count"])) for body in bodies] == [
        ({"name": "x", "count": 3}, int)
    ] * 3
    with pytest.raises(InvalidRequest):
        check_body(OPERATION, {"name": "x", "count": 3.5})


def test_several_errors_are_told_at_once_and_not_too_many():
    with pytest.raises(InvalidRequest, match="and 1 more") as refused:
        check_body(OPERATION, {"name": 1, "count": "x"})
    assert len(refused.value.errors) == 2

    with pytest.raises(InvalidRequest) as refused:
        check_body(OPERATION, {"name": "x", "list": ["x"] * 1_000})
    assert len(refused.value.errors) == 10


def test_what_is_right_is_returned():
    body = {"name": "x", "maybe": None, "list": [1]}

    assert check_body(OPERATION, body) == body


def test_parameters_are_read_as_their_types():
    query = b"number=1.5&whole=7&flag=true&many=a,b&many=%C3%A9"

    assert read_parameters(OPERATION, query, {"X-Header": "abc"}) == {
        "number": 1.5,
        "whole": 7,
        "flag": True,
        "many": ["a", "b", "é"],
        "X-Header": "abc",
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (b"number=x", "number"),
        (b"number=10", "number"),
        (b"number=inf", "number"),
        (b"whole=1.0", "whole"),
        (b"whole=", "whole"),
        (b"flag=yes", "flag"),
        (b"many=a,,b", "many"),
        (b"many=a,b,c,d", "many"),
        (b"whole=1&whole=2", "whole"),
        (b"unknown=1", "unknown"),
    ],
)
def test_parameters_that_are_wrong_are_told_by_name(query, field):
    with pytest.raises(InvalidRequest) as refused:
        read_parameters(OPERATION, query, {})

    assert refused.value.errors[0]["field"] == field


def test_headers_have_schemas_too():
    with pytest.raises(InvalidRequest, match="X-Header"):
        read_parameters(OPERATION, b"", {"X-Header": "abcd"})


@pytest.mark.parametrize("query", [b"a=%ff", b"\xff=1", b"&".join([b"many=1"] * 200)])
def test_a_query_that_cannot_be_read_is_refused(query):
    with pytest.raises(MalformedRequest, match="query"):
        read_parameters(OPERATION, query, {})


def test_json_is_read_strictly():
    assert read_json(b' {"a": [1, 1.5, null, "\\u00e9"]}') == {"a": [1, 1.5, None, "é"]}
    for wrong in (b"Infinity", b"[1,]", b"\xfe\xff", b""):
        with pytest.raises(MalformedRequest):
            read_json(wrong)
