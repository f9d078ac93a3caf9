"""Which request is what, and what is answered without a script: models, counts, probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .playing import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .twin_request import Dialect, TwinRequest

DIALECT_PATHS: dict[str, Dialect] = {
    "/messages": "messages",
    "/responses": "responses",
    "/chat/completions": "chat",
}
"""Behind an optional /v1: some clients count that to the base URL, others to the path."""

MODEL_CREATED = 1_735_689_600


def bare(path: str) -> str:
    """The path without trailing slashes and without the version that some clients put before."""
    path = path.rstrip("/")
    while path.startswith("/v1/"):
        path = path[3:]
    return path or "/"


def dialect_of(method: str, path: str) -> Dialect:
    """The dialect of a request that asks a model for a reply, else "other"."""
    return DIALECT_PATHS.get(bare(path), "other") if method == "POST" else "other"


def answer(request: TwinRequest, models: Sequence[str]) -> tuple[int, Any]:
    """(status, JSON) for a request that asks no model for a reply."""
    path = bare(request.path)
    if request.method in ("GET", "HEAD"):
        if path in ("/", "/api/hello"):  # what clients look at to see whether somebody is there
            return 200, {"twin": "this is a ModelTwin, a scripted model server"}
        if path == "/models":
            return 200, _models(models)
        if path.startswith("/models/"):
            return 200, _model(path.removeprefix("/models/"))
    if request.method == "POST" and path in ("/messages/count_tokens", "/responses/input_tokens"):
        count = {"input_tokens": tokens(len(request.body_bytes))}
        return 200, count if path.startswith("/messages") else {
            "object": "response.input_tokens",
            **count,
        }
    if request.method == "OPTIONS":
        return 200, {}
    return 404, _unknown(request)


def _models(models: Sequence[str]) -> dict[str, Any]:
    """A list that clients of both providers read."""
    return {
        "object": "list",
        "data": [_model(name) for name in models],
        "has_more": False,
        "first_id": models[0] if models else None,
        "last_id": models[-1] if models else None,
    }


def _model(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "created": MODEL_CREATED,
        "created_at": "2025-01-01T00:00:00Z",
        "display_name": name,
        "owned_by": "twin",
    }


def _unknown(request: TwinRequest) -> dict[str, Any]:
    message = f"a ModelTwin has nothing at {request.method} {request.path}"
    kind = "not_found_error"
    return {"type": "error", "error": {"type": kind, "message": message, "code": kind}}
