"""The OpenAPI document, made from the table of operations."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .operations import JSON
from .problems import PROBLEM_TYPE
from .schemas import COMPONENTS, NAME_IN_PATH, SESSION_ID_IN_PATH, ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .operations import Answer, Operation, Parameter

RAW_TYPES = ("application/octet-stream", "application/json", "text/plain", "*/*")
"""Bodies of raw operations in examples; any other type will do as well."""

_DESCRIPTION = (
    "Durable sessions for services that hold conversations with agents. Data, outputs and metadata "
    'are reversible JSON: bytes are {"$bytes": BASE64}, NaN and infinities {"$float": "nan"}, and '
    "a key of the data that begins with $ is written with $$."
)


def openapi_document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document as a JSON object. Whoever may read nothing else may read it."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Moorage",
            "version": _version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _version() -> str:
    try:
        return version("moorage")
    except PackageNotFoundError:
        return "unknown"


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *(_path_parameter(name) for name in operation.path_parameters),
            *(_parameter(parameter) for parameter in operation.parameters),
        ],
        "responses": {
            **{str(status): _answer(answer) for status, answer in operation.answers.items()},
            "default": {
                "description": "What is wrong.",
                "content": {PROBLEM_TYPE: {"schema": ref("Problem")}},
            },
        },
        "security": [{}] if operation.scope is None else [{"bearer": []}, {}],
    }
    if operation.scope is not None:
        described["x-scope"] = operation.scope
    if operation.raw and operation.method in ("POST", "PUT"):
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {media_type: {"schema": {}} for media_type in RAW_TYPES},
        }
    elif operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": operation.body}},
        }
    return described


def _path_parameter(name: str) -> dict[str, Any]:
    schema = SESSION_ID_IN_PATH if name == "session_id" else NAME_IN_PATH
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.many:
        described |= {"style": "form", "explode": True}
    return described


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.content:
        described["content"] = {
            media_type: {"schema": schema} for media_type, schema in answer.content.items()
        }
    return described
