"""What spans say, in the words of OpenTelemetry's conventions for generative AI where it has any.

Nothing here is what people or models wrote, except for ``content``, which is for who asks for it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime.runs import RunRequest

CONTENT_CHARS_MAX = 8_192
"""Longest input or output on a span; the rest is cut off."""
NAME_CHARS_MAX = 256

Attributes = dict[str, Any]

_INPUT_KINDS = ("input_tokens", "cache_read_tokens", "cache_write_tokens")
_USAGE = {
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "cost_usd": "moorage.usage.cost_usd",
}


def run_facts(request: RunRequest) -> Attributes:
    """Which run it is: on every span of it."""
    return {
        "gen_ai.conversation.id": request.session_id,
        "moorage.run.id": request.run_id,
        "moorage.run.attempt": request.attempt,
    }


def run_attributes(request: RunRequest) -> Attributes:
    """Of the span of a run when it begins."""
    found = run_facts(request) | {"gen_ai.operation.name": "invoke_agent"}
    if request.agent is not None:
        found["gen_ai.agent.name"] = request.agent
    model = request.input.get("model") if isinstance(request.input, dict) else None
    if isinstance(model, str) and model:
        found["gen_ai.request.model"] = model[:NAME_CHARS_MAX]
    return found


def usage_attributes(usage: Mapping[str, Any]) -> Attributes:
    """Of the span of a run when it ends. By the conventions, input includes what a cache had; in a
    log it does not."""
    found: Attributes = {
        attribute: usage[kind] for kind, attribute in _USAGE.items() if _is_number(usage.get(kind))
    }
    inputs = [usage[kind] for kind in _INPUT_KINDS if _is_number(usage.get(kind))]
    if inputs:
        found["gen_ai.usage.input_tokens"] = sum(inputs)
    return found


def tool_attributes(request: RunRequest, data: Mapping[str, Any]) -> Attributes:
    """Of the span of a tool call."""
    return run_facts(request) | {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool_name(data),
        "gen_ai.tool.call.id": str(data.get("tool_call_id"))[:NAME_CHARS_MAX],
    }


def tool_name(data: Mapping[str, Any]) -> str:
    """The name of a tool call's tool."""
    return str(data.get("tool_name") or "unknown")[:NAME_CHARS_MAX]


def content(value: object) -> str:
    """A payload as JSON; bytes as their number."""
    return json.dumps(value, ensure_ascii=False, default=_counted)[:CONTENT_CHARS_MAX]


def error_code(error: BaseException) -> str:
    """The code that the run's outcome has for what its agent raised."""
    if isinstance(error, SystemExit):
        return "agent_exited"
    try:
        code = getattr(error, "code", None)
    except Exception:  # a property of somebody else's class may do anything
        code = None
    return code[:NAME_CHARS_MAX] if isinstance(code, str) and code else "agent_failed"


def _counted(value: object) -> str:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else f"({type(value).__name__})"


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
