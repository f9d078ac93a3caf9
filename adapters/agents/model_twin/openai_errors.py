"""Errors as OpenAI's two dialects write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .replies import HttpError

KINDS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: twin."),
    403: ("invalid_request_error", "permission_denied", "You have no access to this."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", "server_error", "The server had an error while processing."),
    503: ("server_error", "server_is_overloaded", "The server is overloaded. Try again later."),
    529: ("server_error", "server_is_overloaded", "The server is overloaded. Try again later."),
}
"""status: (type, code, message)"""

OVERFLOW = (
    "This model's maximum context length is 200000 tokens. However, your messages resulted in "
    "210000 tokens. Please reduce the length of the messages."
)


def openai_error(error: HttpError) -> dict[str, Any]:
    """The map under "error": message, type, param, code."""
    kind, code, message = KINDS.get(error.status, ("server_error", None, f"error {error.status}"))
    if error.kind == "context_overflow":
        code, message = "context_length_exceeded", OVERFLOW
        kind = "invalid_request_error"
    elif error.kind is not None:
        code = error.kind
    return {"message": error.message or message, "type": kind, "param": None, "code": code}
