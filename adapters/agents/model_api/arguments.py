"""The arguments of a tool call as models write them: text that should be a JSON object."""

from __future__ import annotations

import json
import math
from typing import Any

from ..tools.definition import parse_input


def parsed_arguments(text: str) -> dict[str, Any] | str:
    """The object that ``text`` holds; ``text`` itself where it holds none that an event can have.
    Nothing is {}.

    A malformed call is answered to the model, which then usually corrects itself.
    """
    value = parse_input(text)
    return value if isinstance(value, dict) and _fits(value) else text


def arguments_text(tool_input: object) -> str:
    """What to send back as the arguments that a model gave: the text of an object, as the model
    wrote it if it wrote one. Many a server reads the calls that it is shown, and would refuse the
    whole conversation for one that it cannot read."""
    if isinstance(tool_input, str) and isinstance(parse_input(tool_input), dict):
        return tool_input if tool_input.strip() else "{}"
    return json.dumps(arguments_map(tool_input), ensure_ascii=False, separators=(",", ":"))


def arguments_map(tool_input: object) -> dict[str, Any]:
    """The same for APIs that take an object and no text."""
    if tool_input is None:
        return {}
    return tool_input if isinstance(tool_input, dict) else {"malformed_arguments": tool_input}


def _fits(value: object) -> bool:
    """Whether every number is one of JSON, and whole ones fit into an event's 64 bits."""
    if isinstance(value, dict):
        return all(_fits(item) for item in value.values())
    if isinstance(value, list):
        return all(_fits(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**64
