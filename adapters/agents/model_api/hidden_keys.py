"""Keys in what a provider says about them: errors are recorded, and keys must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_HEADERS = ("x-api-key", "authorization", "api-key")
KEY_CHARS_MIN = 6
"""What is shorter is no secret, and may be a word that an error needs."""
HIDDEN = "[key]"


def without_keys(message: str, request_headers: Mapping[str, str]) -> str:
    """``message`` without the keys of the request that it answers; names of headers are in lower
    case, or any if the map does not mind."""
    for name in KEY_HEADERS:
        key = request_headers.get(name, "").removeprefix("Bearer ")
        if len(key) >= KEY_CHARS_MIN:
            message = message.replace(key, HIDDEN)
    return message
