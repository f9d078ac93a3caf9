"""Operations as values: what a route takes, needs and answers. Nothing here does anything.

The table of them (``routes``) is what requests are dispatched by, checked against and authorised
by, and what the OpenAPI document is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import unquote_to_bytes

import attrs

from .authorisation import Scope
from .problems import MalformedRequest, MethodNotAllowed, UnknownRoute
from .schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from starlette.types import ASGIApp

    from .call import Call

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"


class Handler(Protocol):
    """Performs an operation; what it returns sends the answer."""

    def __call__(self, call: Call, /) -> Awaitable[ASGIApp]: ...


@attrs.frozen(kw_only=True)
class Parameter:
    """One parameter of the query or a header. ``many`` means repeated, or separated by commas
    unless there may be commas in the values (``commas``)."""

    name: str
    schema: Schema
    description: str
    place: Literal["query", "header"] = "query"
    many: bool = False
    commas: bool = False
    required: bool = False


@attrs.frozen(kw_only=True)
class Answer:
    """What one status means: a description, and content type -> schema."""

    description: str
    content: Mapping[str, Schema] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path.

    ``scope`` None means that anybody may. ``admits`` marks what takes in new work, which a draining
    server refuses. ``raw`` is of a protocol that others have defined: any body of any type, which
    the handler finds in ``Call.content``; unknown parameters are ignored, wrong ones are 400.
    """

    id: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    summary: str
    tag: str
    scope: Scope | None
    handler: Handler
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_required: bool = True
    admits: bool = False
    raw: bool = False

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names in braces, in order."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


class RouteTable:
    """Finds the operation of a request by its raw path, so that ids may contain slashes."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = tuple(operations)
        self._by_length: dict[int, list[tuple[tuple[str, ...], dict[str, Operation]]]] = {}
        for operation in self.operations:
            parts = tuple(operation.path.split("/")[1:])
            known = self._by_length.setdefault(len(parts), [])
            methods = next((found for pattern, found in known if pattern == parts), None)
            if methods is None:
                methods = {}
                known.append((parts, methods))
            if operation.method in methods:
                raise ValueError(f"{operation.method} {operation.path} is there twice")
            methods[operation.method] = operation
        for known in self._by_length.values():
            known.sort(key=lambda entry: [part.startswith("{") for part in entry[0]])

    def find(self, method: str, raw_path: bytes) -> tuple[Operation, dict[str, str]]:
        """The operation and its path parameters, decoded. HEAD is GET without the body, where it
        is no operation of its own. Raises UnknownRoute, MethodNotAllowed and MalformedRequest."""
        parts = raw_path.decode("latin-1").split("/")[1:]
        for pattern, methods in self._by_length.get(len(parts), ()):
            values = _match(pattern, parts)
            if values is None:
                continue
            operation = methods.get(method)
            if operation is None and method == "HEAD":
                operation = methods.get("GET")
            if operation is None:
                allowed = sorted({*methods, *(["HEAD"] if "GET" in methods else [])})
                raise MethodNotAllowed(method, allowed=allowed)
            return operation, {name: _decoded(name, value) for name, value in values.items()}
        raise UnknownRoute(
            f"there is nothing at {raw_path[:200].decode('latin-1')!r}: see /v1/openapi.json"
        )


def _match(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            if not part:
                return None
            values[expected[1:-1]] = part
        elif expected != part:
            return None
    return values


def _decoded(name: str, value: str) -> str:
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise MalformedRequest(f"{name} in the path is not UTF-8: {value!r}") from None
