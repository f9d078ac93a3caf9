from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.operations import Operation, RouteTable
from moorage.adapters.gateways.http.problems import (
    MalformedRequest,
    MethodNotAllowed,
    UnknownRoute,
)


def operation(method, path):
    return Operation(
        id=f"{method} {path}",
        method=method,
        path=path,
        summary="",
        tag="",
        scope=None,
        handler=lambda call: None,
        answers={},
    )


TABLE = RouteTable(
    [
        operation("GET", "/v1/things/{id}"),
        operation("GET", "/v1/things/all"),
        operation("POST", "/v1/things/{id}"),
        operation("GET", "/v1/things/{id}/parts/{part}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "id", "values"),
    [
        ("GET", b"/v1/things/7", "GET /v1/things/{id}", {"id": "7"}),
        ("HEAD", b"/v1/things/7", "GET /v1/things/{id}", {"id": "7"}),
        ("POST", b"/v1/things/a%2Fb%20c", "POST /v1/things/{id}", {"id": "a/b c"}),
        ("GET", b"/v1/things/all", "GET /v1/things/all", {}),
        (
            "GET",
            b"/v1/things/%C3%A9/parts/%25",
            "GET /v1/things/{id}/parts/{part}",
            {"id": "é", "part": "%"},
        ),
    ],
)
def test_a_path_finds_its_operation_and_what_is_in_it(method, path, id, values):
    found, named = TABLE.find(method, path)

    assert (found.id, named) == (id, values)


@pytest.mark.parametrize("path", [b"", b"/", b"/v1/things", b"/v1/things/", b"/v1/things/7/x"])
def test_other_paths_find_nothing(path):
    with pytest.raises(UnknownRoute):
        TABLE.find("GET", path)


def test_another_method_is_told_which_would_do():
    with pytest.raises(MethodNotAllowed) as refused:
        TABLE.find("DELETE", b"/v1/things/7")

    assert refused.value.allowed == ["GET", "HEAD", "POST"]


def test_what_is_not_utf_8_is_refused():
    with pytest.raises(MalformedRequest, match="id in the path"):
        TABLE.find("GET", b"/v1/things/%ff")


def test_one_method_of_one_path_is_one_operation():
    twice = [operation("GET", "/x"), operation("GET", "/x")]

    with pytest.raises(ValueError, match="there twice"):
        RouteTable(twice)


def test_path_parameters_are_named_in_order():
    assert TABLE.operations[3].path_parameters == ("id", "part")
