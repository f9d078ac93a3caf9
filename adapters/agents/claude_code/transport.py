"""The SDK's Transport over a child process of ours.

The SDK's own transport would start a process that nobody watches: it would outlive a SIGKILL of
ours. Here the process belongs to the run, which reads all that it writes, and the SDK is given only
its half of the conversation: the control protocol (permissions, hooks, tools, initialization).
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import trio

from ..provider.failures import ProviderTimeout
from .mapping import PROVIDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..provider.line_process import LineProcess

CONTROL_TYPES = frozenset({"control_request", "control_response", "control_cancel_request"})
WRITE_SECONDS_MAX = 30.0
"""A Claude Code that does not read for so long has hung."""


class ClaudeTransport:
    """``claude_agent_sdk.Transport`` over a running ``process``, which it neither starts nor ends.

    ``deliver`` gives it a message that the process wrote; the SDK reads it.
    """

    def __init__(self, process: LineProcess) -> None:
        self._process = process
        # unbounded: what is in it is as much as Claude Code asks at once, and waits for
        self._send, self._receive = trio.open_memory_channel[dict[str, Any]](math.inf)
        self._ready = False
        self._writing: set[trio.CancelScope] = set()
        self._abandoned = False

    async def connect(self) -> None:
        await trio.lowlevel.checkpoint()
        self._ready = True

    async def write(self, data: str) -> None:
        """Write a line that the SDK has made. One that has been begun is finished, whoever is
        cancelled: half of one would make the next unreadable. Raises ProviderTimeout."""
        if self._abandoned:
            return
        scope = trio.move_on_after(WRITE_SECONDS_MAX)
        scope.shield = True
        self._writing.add(scope)
        try:
            with scope:
                await self._process.send(json.loads(data))
        finally:
            self._writing.remove(scope)
        if scope.cancelled_caught and not self._abandoned:
            raise ProviderTimeout(
                f"{PROVIDER} has not read what it was told for {WRITE_SECONDS_MAX:g} seconds",
                provider=PROVIDER,
            )

    def abandon(self) -> None:
        """The run is over: nothing more is written, and what is being written is given up."""
        self._abandoned = True
        for scope in self._writing:
            scope.cancel()

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Hand the SDK a message whose type is one of CONTROL_TYPES."""
        if self._ready:
            self._send.send_nowait(dict(message))

    def disconnect(self) -> None:
        """Nothing more will be delivered: who waits for an answer stops waiting."""
        self._send.close()

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        with self._receive:
            async for message in self._receive:
                yield message

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self._ready = False
        self._send.close()
        self._receive.close()

    async def end_input(self) -> None:
        await trio.lowlevel.checkpoint()
        self._process.close_input()

    def is_ready(self) -> bool:
        return self._ready
