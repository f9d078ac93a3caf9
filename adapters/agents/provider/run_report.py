"""RunReport: what a run of a provider's program tells, in order, every tool call ended once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import trio
from moorage.runtime.codec import pack
from moorage.runtime.errors import InvalidArgument, MoorageError

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext

    from .deltas import DeltaStream

PARENT = "parent_tool_call_id"
"""In the metadata of what a sub-agent says, which is no part of the answer."""
INT_MIN, INT_MAX = -(2**63), 2**64 - 1


class RunReport:
    """Emits the events of one run and keeps what its output needs.

    Deltas that are pending go out before any other event. ``provider`` and, once it is set,
    ``provider_session`` are in the metadata of every event. A tool call is told as started once
    and as ended once: what comes twice is left out, what never comes is told by ``close_calls``.
    """

    def __init__(self, context: RunContext, deltas: DeltaStream, provider: str) -> None:
        self.provider = provider
        self.model: str | None = None
        self.stop_reason: str | None = None
        self.turns = 0
        self.content = ""
        self._context = context
        self._deltas = deltas
        self._session: str | None = None
        self._open: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._ended: set[str] = set()
        deltas.metadata = self._metadata({})

    @property
    def provider_session(self) -> str | None:
        """The provider's own id of the conversation."""
        return self._session

    @provider_session.setter
    def provider_session(self, value: str | None) -> None:
        self._session = value
        self._deltas.metadata = self._metadata({})

    @property
    def open_calls(self) -> Sequence[str]:
        """Ids of the calls that the model made and that have not ended."""
        return tuple(self._open)

    async def delta(self, kind: Literal["text", "thinking"], text: str) -> None:
        """Tell what the model said or thought next."""
        if kind == "text":
            await self._deltas.add(plain(text))
        else:
            await self._deltas.add_thinking(plain(text))

    async def flush(self) -> None:
        """Tell what is pending of the deltas, before somebody else tells something."""
        await self._deltas.flush()

    async def emit(
        self, type: str, data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Tell one event, or nothing if it is the second start or end of a tool call."""
        told = self._noted(type, dict(plain(data)), sub=bool((metadata or {}).get(PARENT)))
        if told is None:
            return
        await self._deltas.flush()
        await self._context.emit(type, told, metadata=self._metadata(metadata or {}))

    def close_calls(self, code: str, message: str) -> None:
        """Tell of every open call that it failed. Waits for nothing, so that a cancelled run can
        do it; beyond the limit of what may be ahead of the log it is given up."""
        for call_id, name in tuple(self._open.items()):
            data = {
                "tool_call_id": call_id,
                "tool_name": name,
                "error": {"code": code, "message": message},
            }
            told = self._noted("tool_call_failed", data, sub=False)
            with contextlib.suppress(MoorageError):
                self._context.emit_nowait("tool_call_failed", told, metadata=self._metadata({}))

    def output(self) -> dict[str, Any]:
        """The run's output."""
        known = {"provider_session": self._session} if self._session is not None else {}
        return {
            "content": self.content,
            "stop_reason": self.stop_reason,
            "provider": self.provider,
            "model": self.model,
            "turns": self.turns,
            **known,
        }

    def _noted(self, type: str, data: dict[str, Any], *, sub: bool) -> dict[str, Any] | None:
        if type == "message_received":
            self._received(data, sub=sub)
        elif type == "tool_call_started":
            return self._call_started(data)
        elif type in ("tool_call_completed", "tool_call_failed"):
            return self._call_ended(data)
        return data

    def _received(self, data: dict[str, Any], *, sub: bool) -> None:
        if not sub:
            self.turns += 1
            self.content = data["content"]
            self.model = data.get("model", self.model)
            self.stop_reason = data.get("stop_reason", self.stop_reason)
        for call in data.get("tool_calls", ()):
            if call["tool_call_id"] not in self._ended:
                self._open.setdefault(call["tool_call_id"], call["tool_name"])

    def _call_started(self, data: dict[str, Any]) -> dict[str, Any] | None:
        call_id = data["tool_call_id"]
        if call_id in self._started or call_id in self._ended:
            return None
        self._started[call_id] = trio.current_time()
        self._open.setdefault(call_id, data["tool_name"])
        return data

    def _call_ended(self, data: dict[str, Any]) -> dict[str, Any] | None:
        call_id = data["tool_call_id"]
        if call_id in self._ended:
            return None
        self._ended.add(call_id)
        name = self._open.pop(call_id, None)
        if not data["tool_name"] and name is not None:  # results of some providers have none
            data["tool_name"] = name
        began = self._started.pop(call_id, None)
        if began is not None and "error" not in data:
            data.setdefault("duration_seconds", round(trio.current_time() - began, 6))
        return data

    def _metadata(self, more: Mapping[str, Any]) -> dict[str, Any]:
        session = {} if self._session is None else {"provider_session": self._session}
        return {"provider": self.provider, **session, **more}


def plain(value: Any) -> Any:
    """``value`` as data that the log takes: JSON may have halves of surrogate pairs and whole
    numbers of any length, which are replaced and written out."""
    try:
        pack(value)
    except InvalidArgument:
        return _plain(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | float | bytes) or value is None:
        return value
    if isinstance(value, int) and INT_MIN <= value <= INT_MAX:
        return value
    return str(value)
