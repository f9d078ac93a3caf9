"""The context that a traced agent sees: what it emits goes through, and is looked at on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.agents import RunContextWrapper
from moorage.runtime.runs import added_usage

from .span_attributes import NAME_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime.agents import RunContext
    from moorage.runtime.events import Data

    from .tool_spans import ToolSpans


class TracedContext(RunContextWrapper):
    """A run's context. ``usage`` and ``told`` are what the events said so far that belongs on the
    run's span; ``parked`` says that the agent left by ``park``."""

    def __init__(self, context: RunContext, tools: ToolSpans, time_ns: Callable[[], int]) -> None:
        super().__init__(context)
        self._tools = tools
        self._time_ns = time_ns
        self.usage: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.parked = False

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        await super().emit(type, data, time_ns=time_ns, metadata=metadata)
        self._note(type, data, time_ns, metadata)

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().emit_nowait(type, data, time_ns=time_ns, metadata=metadata)
        self._note(type, data, time_ns, metadata)

    def _note(
        self, type: str, data: Data, time_ns: int | None, metadata: dict[str, Any] | None
    ) -> None:
        if type == "message_streamed" or not isinstance(data, dict):
            return
        if type == "token_usage_updated":
            self.usage = added_usage(self.usage, data)
        elif type == "message_received":
            self._tell("gen_ai.response.model", data.get("model"))
        elif type == "turn_completed" and isinstance(data.get("stop_reason"), str):
            reason = data["stop_reason"][:NAME_CHARS_MAX]
            self.told["gen_ai.response.finish_reasons"] = [reason]
        elif type.startswith("tool_call_"):
            self._tools.note(type, data, self._time_ns() if time_ns is None else time_ns)
        if metadata is not None:
            self._tell("gen_ai.provider.name", metadata.get("provider"))

    def _tell(self, attribute: str, value: object) -> None:
        if isinstance(value, str) and value:
            self.told[attribute] = value[:NAME_CHARS_MAX]

    async def park(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        self.parked = True
        try:
            value = await super().park(name, data, timeout_seconds=timeout_seconds, default=default)
        except Exception:  # not Cancelled: that is how it ends the task
            self.parked = False
            raise
        self.parked = False
        return value
