"""Tools as typed async functions: their schemas, and how calls of them are executed."""

from .definition import Tool, ToolContext, parse_input, tool, tools_by_name
from .execution import ToolLimits, execute_calls

__all__ = [
    "tool",
    "Tool",
    "ToolContext",
    "ToolLimits",
    "tools_by_name",
    "parse_input",
    "execute_calls",
]
