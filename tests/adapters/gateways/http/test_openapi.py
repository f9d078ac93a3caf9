from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from moorage.adapters.gateways.http import schemas
from moorage.adapters.gateways.http.openapi import openapi_document
from moorage.adapters.gateways.http.routes import OPERATIONS
from moorage.runtime import InvalidArgument
from moorage.runtime.identifiers import check_session_id
from openapi_spec_validator import OpenAPIV31SpecValidator


async def test_the_document_is_served_and_valid(serving):
    async with serving() as service:
        answer = await service.client("GET", "/v1/openapi.json")

    OpenAPIV31SpecValidator(answer.json()).validate()
    assert answer.json() == json.loads(json.dumps(openapi_document(OPERATIONS)))


def test_every_operation_is_in_it_and_nothing_else():
    paths = openapi_document(OPERATIONS)["paths"]

    assert {(operation.path, operation.method.lower()) for operation in OPERATIONS} == {
        (path, method) for path, methods in paths.items() for method in methods
    }


@pytest.mark.parametrize(
    ("name", "takes"),
    [("a", True), (" a b ", True), ("ü/?", True), (" ", False), ("", False), ("a\nb", False)],
)
def test_names_in_paths_are_described_as_the_runtime_takes_them(name, takes):
    path = openapi_document(OPERATIONS)["paths"]["/v1/sessions/{session_id}"]
    (parameter,) = (it for it in path["get"]["parameters"] if it["in"] == "path")

    assert Draft202012Validator(parameter["schema"]).is_valid(name) is takes
    if takes:
        assert check_session_id(name) == name
    else:
        with pytest.raises(InvalidArgument):
            check_session_id(name)


def test_ids_of_operations_are_different():
    ids = [operation.id for operation in OPERATIONS]

    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", sorted(schemas.COMPONENTS))
def test_every_schema_is_one_and_is_used(name):
    Draft202012Validator.check_schema(schemas.COMPONENTS[name])

    assert f"#/components/schemas/{name}" in json.dumps(openapi_document(OPERATIONS))


def test_operations_for_everybody_need_no_token_and_all_others_say_their_scope():
    document = openapi_document(OPERATIONS)

    for operation in OPERATIONS:
        described = document["paths"][operation.path][operation.method.lower()]
        assert operation.scope == described.get("x-scope")
        assert ({"bearer": []} in described["security"]) == (operation.scope is not None)
