"""What an agent asks of us over the Agent Client Protocol: permissions, files, terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..provider.approvals import ToolCall
from ..provider.json_rpc import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    RpcRefused,
)
from . import protocol
from .protocol import CLIENT_METHODS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ..provider.run_report import RunReport
    from ..provider.tool_decisions import ToolDecisions, ToolEffect
    from .files import WorkingFiles
    from .mapping import AcpMapping
    from .terminals import Terminals

EFFECTS: Mapping[str, ToolEffect] = {
    "read": "reads",
    "search": "reads",
    "think": "reads",
    "fetch": "reads",
    "edit": "edits",
    "delete": "edits",
    "move": "edits",
}
"""Kinds of tools in the protocol -> what they do; any other may do anything."""


def tool_effect(call: ToolCall) -> ToolEffect:
    """What a tool does to the world, as far as its kind tells."""
    return EFFECTS.get(call.tool_name, "other")


def choose_option(options: Iterable[Mapping[str, Any]], *, approved: bool) -> str | None:
    """The id of the option that says yes, or no, this once; else the one that says so for good."""
    kinds = ("allow_once", "allow_always") if approved else ("reject_once", "reject_always")
    offered = list(options)
    for kind in kinds:
        for option in offered:
            if option["kind"] == kind:
                return str(option["option_id"])
    return None


class AcpClient:
    """Answers an agent's requests for one run.

    In plan mode nothing is written and no command is run, whatever the agent's own mode says.
    """

    def __init__(
        self,
        report: RunReport,
        mapping: AcpMapping,
        decisions: ToolDecisions,
        files: WorkingFiles,
        terminals: Terminals,
    ) -> None:
        self.session_id: str | None = None
        self._report = report
        self._mapping = mapping
        self._decisions = decisions
        self.files = files
        self._terminals = terminals
        self._methods: dict[str, Callable[[Any], Awaitable[Any]]] = {
            CLIENT_METHODS["session_request_permission"]: self._permission,
            CLIENT_METHODS["fs_read_text_file"]: self._read,
            CLIENT_METHODS["fs_write_text_file"]: self._write,
            CLIENT_METHODS["terminal_create"]: self._create,
            CLIENT_METHODS["terminal_output"]: self._output,
            CLIENT_METHODS["terminal_wait_for_exit"]: self._wait,
            CLIENT_METHODS["terminal_kill"]: self._kill,
            CLIENT_METHODS["terminal_release"]: self._release,
        }

    async def request(self, method: str, params: Any) -> Any:
        """The answer to a request. Raises RpcRefused."""
        handler = self._methods.get(method)
        if handler is None:
            raise RpcRefused(METHOD_NOT_FOUND, f"this client has no method {method}")
        session = params.get("sessionId") if isinstance(params, dict) else None
        if session != self.session_id:
            raise RpcRefused(INVALID_PARAMS, f"there is no session {session!r}")
        return await handler(params)

    async def _permission(self, params: Any) -> Any:
        asked = protocol.asked(protocol.RequestPermissionRequest, params)
        for type_, data in self._mapping.asked(params["toolCall"]):
            await self._report.emit(type_, data)
        known = self._mapping.call(asked.tool_call.tool_call_id)
        assert known is not None  # asked() has made it known
        tool_input = {} if known.input is None else known.input
        call = ToolCall(known.id, known.name, tool_input)
        await self._report.flush()
        decision = await self._decisions.decide(call)
        approved = decision.approved and decision.tool_input is None
        if decision.approved and not approved:
            await self._report.emit(
                "error_occurred",
                {
                    "code": "tool_input_fixed",
                    "category": "protocol",
                    "message": f"{known.name} was denied: it was approved with another input, and "
                    "the Agent Client Protocol has no way to change that",
                    "retryable": False,
                },
            )
        options = [option.model_dump() for option in asked.options]
        chosen = choose_option(options, approved=approved)
        if chosen is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": chosen}}

    async def _read(self, params: Any) -> Any:
        asked = protocol.asked(protocol.ReadTextFileRequest, params)
        text = await self.files.read(asked.path, line=asked.line, limit=asked.limit)
        return {"content": text}

    async def _write(self, params: Any) -> Any:
        asked = protocol.asked(protocol.WriteTextFileRequest, params)
        self._refuse_in_plan("files are not written")
        await self.files.write(asked.path, asked.content)
        return {}

    async def _create(self, params: Any) -> Any:
        asked = protocol.asked(protocol.CreateTerminalRequest, params)
        self._refuse_in_plan("commands are not run")
        terminal_id = await self._terminals.create(
            asked.command,
            asked.args or (),
            environment={variable.name: variable.value for variable in asked.env or ()},
            cwd=asked.cwd,
            output_bytes_max=asked.output_byte_limit,
        )
        return {"terminalId": terminal_id}

    async def _output(self, params: Any) -> Any:
        asked = protocol.asked(protocol.TerminalOutputRequest, params)
        return self._terminals.output(asked.terminal_id)

    async def _wait(self, params: Any) -> Any:
        asked = protocol.asked(protocol.WaitForTerminalExitRequest, params)
        return await self._terminals.wait_exit(asked.terminal_id)

    async def _kill(self, params: Any) -> Any:
        asked = protocol.asked(protocol.KillTerminalRequest, params)
        self._terminals.kill(asked.terminal_id)
        return {}

    async def _release(self, params: Any) -> Any:
        asked = protocol.asked(protocol.ReleaseTerminalRequest, params)
        self._terminals.release(asked.terminal_id)
        return {}

    def _refuse_in_plan(self, what: str) -> None:
        if self._decisions.mode == "plan":
            raise RpcRefused(INVALID_PARAMS, f"in plan mode {what}")
