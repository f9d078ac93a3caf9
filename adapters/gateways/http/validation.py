"""Checking what a request brings against the schemas of its operation."""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator

from .problems import InvalidRequest, MalformedRequest, shown
from .schemas import COMPONENTS, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jsonschema.exceptions import ValidationError

    from .operations import Operation, Parameter

ERRORS_MAX = 10
"""How many things that are wrong with a request are told at once."""
QUERY_FIELDS_MAX = 100


def read_json(content: bytes) -> Any:
    """A value from JSON in UTF-8. Raises MalformedRequest that says where it stops being that."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(
            f"the body is not UTF-8: byte {content[error.start]:#04x} at offset {error.start}"
        ) from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise MalformedRequest("the body is nested too deeply") from None
    except ValueError as error:  # whole numbers of thousands of digits
        raise MalformedRequest(f"the body cannot be read: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise MalformedRequest(f'the body is not JSON: {name} is no number, write {{"$float": ...}}')


def check_body(operation: Operation, value: Any) -> dict[str, Any]:
    """The body if it is as the operation's schema says, with whole numbers as such: to JSON Schema
    3.0 is an integer. Raises InvalidRequest."""
    assert operation.body is not None, "only what takes a body is given one"
    validator = _validator(operation.body)
    errors = [_told(error) for error in islice(validator.iter_errors(value), ERRORS_MAX)]
    if errors:
        raise InvalidRequest(errors)
    properties = operation.body["properties"]
    return {
        name: int(item)
        if type(item) is float and properties[name].get("type") == "integer"
        else item
        for name, item in value.items()
    }


_validators: dict[int, tuple[Schema, Draft202012Validator]] = {}
"""By the identity of the schema, which is one of the few that operations have."""


def _validator(schema: Schema) -> Draft202012Validator:
    known = _validators.get(id(schema))
    if known is None:
        made = Draft202012Validator(schema | {"components": {"schemas": COMPONENTS}})
        known = _validators[id(schema)] = schema, made
    return known[1]


def _told(error: ValidationError) -> dict[str, Any]:
    """Which field, what it is, and what it should be."""
    pointer = "".join(f"/{_escaped(str(part))}" for part in error.absolute_path)
    value, expected = error.instance, error.message
    rule: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", ()))
        unknown = sorted(set(value) - set(known))
        pointer += f"/{_escaped(unknown[0])}"
        value, expected = value[unknown[0]], f"one of the fields {', '.join(known) or '(none)'}"
    elif error.validator == "required":
        missing = [name for name in rule if name not in value]
        return {
            "field": f"{pointer}/{_escaped(missing[0])}",
            "value": "missing",
            "expected": "a value, it is required",
        }
    elif error.validator == "type":
        expected = " or ".join(rule) if isinstance(rule, list) else str(rule)
    elif error.validator == "enum":
        expected = f"one of {', '.join(shown(choice) for choice in rule)}"
    elif error.validator == "pattern":
        expected = error.schema.get("description", "another text")
    elif error.validator in _BOUNDS:
        expected = _BOUNDS[error.validator].format(rule)
    return {"field": pointer or "the body", "value": shown(value), "expected": expected}


_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def _escaped(part: str) -> str:
    """Part of a JSON pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def read_parameters(
    operation: Operation, query_string: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """The parameters that are given, as values of their types. Raises InvalidRequest for unknown
    ones, repeated ones and wrong ones, and MalformedRequest for a query that is not UTF-8; of a raw
    operation unknown ones are ignored, and all else raises MalformedRequest."""
    if operation.raw:
        try:
            return _read_parameters(operation, query_string, headers)
        except InvalidRequest as error:
            raise MalformedRequest(error.message) from None
    return _read_parameters(operation, query_string, headers)


def _read_parameters(
    operation: Operation, query_string: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    given = _query(query_string)
    known = {p.name: p for p in operation.parameters if p.place == "query"}
    for name in given:
        if name not in known and not operation.raw:
            raise InvalidRequest(
                [
                    {
                        "field": name,
                        "value": shown(given[name][0]),
                        "expected": f"one of the parameters {', '.join(known) or '(none)'}",
                    }
                ]
            )
    values: dict[str, Any] = {}
    for parameter in operation.parameters:
        if parameter.place == "query":
            texts: Sequence[str] = given.get(parameter.name, ())
        else:
            header = headers.get(parameter.name)
            texts = () if header is None else (header,)
        if texts:
            values[parameter.name] = _parameter(parameter, texts)
        elif parameter.required:
            raise _wrong(parameter, "", "a value, it is required")
    return values


def _query(query_string: bytes) -> dict[str, list[str]]:
    if not query_string:
        return {}
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except UnicodeDecodeError:
        raise MalformedRequest("the query is not UTF-8, percent-encoded") from None
    except ValueError as error:
        raise MalformedRequest(f"the query cannot be read: {error}") from None
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).append(text)
    return given


def _parameter(parameter: Parameter, texts: Sequence[str]) -> Any:
    value: Any
    if parameter.many and parameter.commas:
        value = list(texts)
    elif parameter.many:
        value = [part for text in texts for part in text.split(",")]
    elif len(texts) > 1:
        raise _wrong(parameter, ", ".join(texts), "given once")
    else:
        value = _read(parameter, texts[0])
    for error in _errors(parameter.schema, value):
        raise _wrong(parameter, value, _told(error)["expected"])
    return value


def _errors(schema: Schema, value: Any) -> Iterable[ValidationError]:
    errors: Iterable[ValidationError] = _validator(schema).iter_errors(value)
    return errors


def _read(parameter: Parameter, text: str) -> Any:
    """A text as what the schema asks for; anything else is left to the schema to refuse."""
    kinds = parameter.schema.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "integer" in kinds and text.isascii() and text.isdigit() and len(text) <= 19:
        return int(text)
    if "number" in kinds:
        try:
            number = float(text)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(text, text)
    return text


def _wrong(parameter: Parameter, value: Any, expected: str) -> InvalidRequest:
    return InvalidRequest([{"field": parameter.name, "value": shown(value), "expected": expected}])
