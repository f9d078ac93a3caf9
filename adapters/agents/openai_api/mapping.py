"""What the Responses API and chat endpoints stream becomes these events of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDER = "openai"

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "response.created": (),
    "response.queued": (),
    "response.in_progress": (),
    "response.output_item.added": (),
    "response.output_item.done": (),
    "response.content_part.added": (),
    "response.content_part.done": (),
    "response.output_text.delta": ("message_streamed",),
    "response.output_text.done": (),
    "response.refusal.delta": ("message_streamed",),
    "response.refusal.done": (),
    "response.reasoning_text.delta": ("message_streamed",),
    "response.reasoning_text.done": (),
    "response.reasoning_summary_part.added": (),
    "response.reasoning_summary_part.done": (),
    "response.reasoning_summary_text.delta": ("message_streamed",),
    "response.reasoning_summary_text.done": (),
    "response.function_call_arguments.delta": (),
    "response.function_call_arguments.done": (),
    "response.completed": ("message_received", "token_usage_updated"),
    "response.incomplete": ("message_received", "token_usage_updated"),
    "response.failed": ("error_occurred",),
    "error": ("error_occurred",),
    "*": ("provider_event",),
    "chat.delta.content": ("message_streamed",),
    "chat.delta.refusal": ("message_streamed",),
    "chat.delta.reasoning_content": ("message_streamed",),
    "chat.delta.reasoning": ("message_streamed",),
    "chat.delta.tool_calls": (),
    "chat.finish_reason": ("message_received",),
    "chat.usage": ("token_usage_updated",),
    "chat.error": ("error_occurred",),
}
"""Kind of the provider's event -> what it becomes. What is empty is a part of a later event: calls
and whole texts are in message_received. Kinds with ``chat.`` are fields of a chunk."""

RESPONSES = "openai.responses"
CHAT = "openai.chat"
"""Names in ``original``: each API gets back unchanged only what it said itself."""

ERROR_STATUSES: Mapping[str, int] = {
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "internal_error": 500,
    "overloaded": 529,
    "server_overloaded": 529,
    "server_is_overloaded": 529,
    "overloaded_error": 529,
    "slow_down": 529,
}
"""Code of an error that comes within a stream -> the status it has otherwise."""


def seconds_as_ns(seconds: object) -> int | None:
    """A time as the provider tells it, in seconds since 1970, in nanoseconds; None if it is none
    that an event can hold."""
    if isinstance(seconds, int | float) and 0 < seconds < 2**33:
        return int(seconds * 1_000_000_000)
    return None
