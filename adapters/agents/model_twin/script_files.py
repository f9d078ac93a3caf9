"""Scripts of a ModelTwin as JSON, for those who start it by hand.

::

    ["Hello",
     [{"type": "tool_use", "name": "ls", "input": {"path": "."}}, {"type": "tool_use", ...}],
     {"type": "http_error", "status": 429, "retry_after": 1},
     [{"type": "stall", "seconds": 2}, "Done", {"type": "usage", "input_tokens": 10}]]

A list with one reply per request; a reply is a text, a part, or a list of those. ``type`` is the
part's name with underscores, the other keys are its fields; ``data`` of garbage and ``body`` of an
http_error are texts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument

from .replies import PARTS, Part

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part.__name__).lower(): part for part in PARTS}
BYTES_FIELDS = ("data", "body")


def read_script(path: Path) -> list[list[str | Part]]:
    """The replies in a file. Raises InvalidArgument that says where it is wrong, and OSError."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InvalidArgument(f"{path.name} is no JSON: {error}") from error
    return script_of(value)


def script_of(value: object) -> list[list[str | Part]]:
    """The replies in decoded JSON. Raises InvalidArgument that says where it is wrong."""
    if not isinstance(value, list):
        raise InvalidArgument(f"a script must be a list of replies, not {value!r}")
    return [_reply(reply, f"reply {number}") for number, reply in enumerate(value, 1)]


def _reply(value: object, where: str) -> list[str | Part]:
    parts = value if isinstance(value, list) else [value]
    return [_part(part, f"{where}, part {number}") for number, part in enumerate(parts, 1)]


def _part(value: object, where: str) -> str | Part:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or value.get("type") not in TYPES:
        raise InvalidArgument(
            f"{where} must be a text or a map whose type is one of {', '.join(TYPES)}, "
            f"not {value!r}"
        )
    kind = TYPES[value["type"]]
    known = {field.name for field in attrs.fields(kind)}
    fields: dict[str, Any] = {key: field for key, field in value.items() if key != "type"}
    if unknown := sorted(fields.keys() - known):
        raise InvalidArgument(f"{where}: {value['type']} has {sorted(known)}, not {unknown}")
    for key in BYTES_FIELDS:
        if isinstance(fields.get(key), str):
            fields[key] = fields[key].encode()
    try:
        part: Part = kind(**fields)
    except (InvalidArgument, TypeError) as error:
        raise InvalidArgument(f"{where}: {error}") from error
    return part
