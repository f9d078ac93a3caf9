"""One run of an agent that speaks the Agent Client Protocol."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from ..provider.failure_texts import failure_of_text
from ..provider.failures import (
    AgentFailure,
    ContentRefused,
    ProviderUnavailable,
    RequestInvalid,
    TurnsExceeded,
)
from .protocol import AGENT_METHODS, CLIENT_METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..provider.json_rpc import JsonRpc
    from ..provider.run_report import RunReport
    from ..provider.text_prompts import TextPrompt
    from .mapping import AcpMapping

CANCEL_SECONDS = 0.25
"""How long a cancelled agent may take to say so; then its program is ended, within a second."""
STOP_SECONDS = 5.0
"""How long an agent that has used up its turns may take to stop."""


class AcpRun:
    """Takes an agent's updates and asks it one prompt."""

    def __init__(
        self, report: RunReport, mapping: AcpMapping, provider: str, *, turns_max: int | None
    ) -> None:
        self.session_id: str | None = None
        self._rpc: JsonRpc | None = None
        self._report = report
        self._mapping = mapping
        self._provider = provider
        self._turns_max = turns_max
        self._asking: trio.CancelScope | None = None
        self._early: list[Mapping[str, Any]] = []
        self._exceeded = False
        self.kept = False
        """Whether the agent has told the end of the turn, and so has it in its session."""

    async def notified(self, method: str, params: Any) -> None:
        """Take a notification. Updates are those of the prompt: what comes before it, such as the
        history that session/load repeats, is passed over."""
        if method != CLIENT_METHODS["session_update"] or not isinstance(params, dict):
            original = {"method": method, "params": params}
            await self._report.emit(
                "provider_event", {"provider": self._provider, "original": original}
            )
            return
        update = params.get("update")
        if params.get("sessionId") != self.session_id or not isinstance(update, dict):
            return
        if self._asking is None:
            if update.get("sessionUpdate") in _AT_ANY_TIME:
                self._early.append(update)
            return
        await self._tell(self._mapping.update(update))
        if self._turns_max is not None and self._mapping.turns > self._turns_max:
            await self._stop()

    async def ask(self, rpc: JsonRpc, prompt: TextPrompt, *, takes_images: bool) -> None:
        """Ask, and return when the agent has answered.

        Raises an AgentFailure if it fails. If it is cancelled the agent is told, and given
        CANCEL_SECONDS to stop in good order.
        """
        assert self.session_id is not None
        self._rpc = rpc
        params = {
            "sessionId": self.session_id,
            "prompt": prompt_blocks(prompt, takes_images=takes_images, provider=self._provider),
        }
        for update in self._early:  # behind what is said, which begins a run
            await self._tell(self._mapping.update(update))
        answer: Any = None
        try:
            with trio.CancelScope() as self._asking:
                answer = await rpc.request(AGENT_METHODS["session_prompt"], params)
        except trio.Cancelled:
            with trio.move_on_after(CANCEL_SECONDS, shield=True), suppress(AgentFailure):
                await self._cancel()
                self._note_kept(await rpc.answer_to(rpc.last_id) or {})
            raise
        except AgentFailure as error:
            await self._tell(self._mapping.cut())
            raise explained(error, self._provider) from error
        finally:
            self._asking = None
            self._report.close_calls("interrupted", "the run ended before the tool did")
        self._note_kept({"result": answer})
        await self._conclude(answer if isinstance(answer, dict) else {})

    def _note_kept(self, answer: Mapping[str, Any]) -> None:
        result = answer.get("result")
        self.kept = isinstance(result, dict) and result.get("stopReason") in _KEPT

    async def _conclude(self, answer: Mapping[str, Any]) -> None:
        await self._tell(self._mapping.finish(answer))
        reason = answer.get("stopReason")
        self._report.stop_reason = str(reason)
        if self._exceeded or reason == "max_turn_requests":
            raise TurnsExceeded(
                f"{self._provider} wanted to go on after {self._turns_max or 'all its'} turns",
                provider=self._provider,
            )
        if reason == "refusal":
            raise ContentRefused(f"{self._provider} refused to go on", provider=self._provider)
        self._report.turns = self._mapping.turns
        data = {"stop_reason": self._report.stop_reason, "turns": self._report.turns}
        await self._report.emit("turn_completed", data)

    async def _tell(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        for type_, data in events:
            if type_ == "delta":
                await self._report.delta("text", data["text"])
            elif type_ == "thinking":
                await self._report.delta("thinking", data["text"])
            else:
                await self._report.emit(type_, data)

    async def _stop(self) -> None:
        if self._exceeded or self._asking is None:
            return
        self._exceeded = True
        self._asking.deadline = trio.current_time() + STOP_SECONDS
        await self._cancel()

    async def _cancel(self) -> None:
        if self._rpc is not None:
            await self._rpc.notify(AGENT_METHODS["session_cancel"], {"sessionId": self.session_id})


_KEPT = frozenset({"end_turn", "max_tokens", "max_turn_requests", "cancelled"})
"""Reasons to stop after which the turn is part of the session; what is refused is not."""

_AT_ANY_TIME = frozenset(
    {
        "available_commands_update",
        "current_mode_update",
        "config_option_update",
        "session_info_update",
    }
)


def prompt_blocks(prompt: TextPrompt, *, takes_images: bool, provider: str) -> list[dict[str, Any]]:
    """The protocol's blocks for ``prompt``. Raises RequestInvalid for images that the agent does
    not take."""
    if prompt.images and not takes_images:
        raise RequestInvalid(f"{provider} takes no images: leave them out", provider=provider)
    blocks: list[dict[str, Any]] = []
    if prompt.text:
        blocks.append({"type": "text", "text": prompt.text})
    blocks += [
        {
            "type": "image",
            "mimeType": image["media_type"],
            "data": base64.b64encode(image["data"]).decode("ascii"),
        }
        for image in prompt.images
    ]
    return blocks


def explained(error: AgentFailure, provider: str) -> AgentFailure:
    """The failure that an error's text stands for: most agents answer every error of their model
    with the protocol's internal error."""
    if type(error) is not ProviderUnavailable:
        return error
    text = str(error)
    data = error.facts.get("rpc_data")
    more = f" {json.dumps(data)}" if data is not None else ""
    kind = failure_of_text(provider, text + more)
    if type(kind) is ProviderUnavailable:
        return error
    return type(kind)(text, provider=provider, status=kind.status, facts=error.facts)
