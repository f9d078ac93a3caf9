"""Our own tools, offered to Claude Code by a server in this process."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog
import trio
from moorage.runtime.errors import InvalidArgument

from ..provider.approvals import ToolCall
from ..provider.hooks import Hooks, ToolResult
from ..tools import Tool, ToolContext, ToolLimits
from ..tools.results import cut, plain, text_of
from .mapping import TOOL_SERVER, mapping_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime.agents import RunContext

CALL_ID_KEY = "claudecode/toolUseId"

logger = structlog.get_logger("moorage")


class OwnTools:
    """Executes calls of ``tools`` for one run. Their events are told by the MessageReader, as those
    of all tools; so here a call only has a result.
    """

    def __init__(
        self, tools: Mapping[str, Tool], context: RunContext, hooks: Hooks, limits: ToolLimits
    ) -> None:
        self.tools = tools
        self._context = context
        self._hooks = hooks
        self._limits = limits
        self._room = trio.Semaphore(limits.tools_parallel_max)
        self._called: dict[str, deque[str]] = {}

    def heard(self, message: Mapping[str, Any]) -> None:
        """Note which call of the model a ``control_request`` is about: the SDK passes on only the
        name and the arguments."""
        request = mapping_at(message, "request")
        if request.get("server_name") != TOOL_SERVER:
            return
        params = mapping_at(mapping_at(request, "message"), "params")
        call_id = mapping_at(params, "_meta").get(CALL_ID_KEY)
        if isinstance(call_id, str):
            key = _key(params.get("name"), params.get("arguments"))
            self._called.setdefault(key, deque()).append(call_id)

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Execute a call; what the model is to get, as a result of the SDK's."""
        waiting = self._called.get(_key(name, arguments))
        call = ToolCall(waiting.popleft() if waiting else name, name, arguments)
        async with self._room:
            result = await self._hooks.after(self._context, await self._result(call))
        try:
            output = text_of(cut(plain(result.output), self._limits.result_bytes_max))
        except InvalidArgument as error:
            message = f"{name} gave a result that cannot be passed on: {error}"
            return _content(message, is_error=True)
        return _content(output, is_error=result.is_error)

    async def _result(self, call: ToolCall) -> ToolResult:
        tool = self.tools[call.tool_name]
        limit = tool.timeout_seconds or self._limits.timeout_seconds
        context = ToolContext(
            self._context.session_id, self._context.run_id, call.tool_call_id, self._context
        )
        try:
            with trio.move_on_after(float("inf") if limit is None else limit):
                return ToolResult(call, await tool.run(tool.arguments(call.tool_input), context))
        except Exception as error:  # the model may know what to do about it
            logger.warning("tool_raised", tool=call.tool_name, exc_info=error)
            message = f"{type(error).__name__}: {error}"
            return ToolResult(call, message, True, "tool_raised")
        message = f"{tool.name} was stopped after {limit} seconds"
        return ToolResult(call, message, True, "tool_timeout")


def _content(text: str, *, is_error: bool) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "is_error": is_error}


def _key(name: object, arguments: object) -> str:
    return json.dumps([name, arguments or {}], sort_keys=True)
