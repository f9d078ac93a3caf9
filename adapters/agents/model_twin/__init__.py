"""A scripted model server on this machine, for tests without a provider (extra ``twin``).

::

    script = [[ToolUse("ls", {"path": "."}), ToolUse("date")], Text("Hello")]
    async with ModelTwin(script).serving() as twin:
        twin.url, twin.requests, twin.environment("claude")

``replies`` has the parts of a script, ``twin_request`` what is recorded of each request.
"""

from .background import known_background
from .replies import (
    Cut,
    Garbage,
    HttpError,
    Part,
    Reply,
    Stall,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Usage,
)
from .server import ModelTwin, TwinStatistics
from .twin_request import ToolCall, ToolResult, TwinRequest

__all__ = [
    "ModelTwin",
    "TwinRequest",
    "TwinStatistics",
    "ToolCall",
    "ToolResult",
    "Part",
    "Reply",
    "Text",
    "Thinking",
    "ToolUse",
    "Usage",
    "Stop",
    "HttpError",
    "Stall",
    "Cut",
    "Garbage",
    "known_background",
]
