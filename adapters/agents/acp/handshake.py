"""What is settled with an agent before it is asked anything: version, session, model, mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..provider.failures import (
    AgentFailure,
    AuthenticationFailed,
    ProtocolViolated,
    ProviderExited,
    ProviderNotConfigured,
    RequestInvalid,
)
from . import protocol
from .protocol import AGENT_METHODS, PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..provider.json_rpc import JsonRpc
    from ..provider.settings import PermissionMode

ANSWER_SECONDS = 60.0
"""How long an agent may take for anything but a prompt."""
AUTH_REQUIRED = -32000
"""The protocol's code for an agent that nobody has logged in to."""
ERRORS: Mapping[int, type[AgentFailure]] = {AUTH_REQUIRED: AuthenticationFailed}

SET_MODEL = "session/set_model"
"""Not in the protocol's stable part, but what agents offer that list models without options."""

MODE_NAMES: Mapping[PermissionMode, tuple[str, ...]] = {
    "default": (),
    "accept_edits": ("acceptEdits", "accept_edits", "autoEdit", "auto_edit", "auto-edit"),
    "plan": ("plan", "architect", "ask", "read-only", "readonly"),
    "full_auto": (),
    "dangerously_skip_permissions": ("bypassPermissions", "yolo", "full-access"),
}
"""Permission mode -> ids of an agent's own modes that stand for it, the first that it offers.
Where it offers none, and for the other two, the answers to its requests make the mode."""


class Handshake:
    """Speaks for one run with an agent that has just been started."""

    def __init__(self, rpc: JsonRpc, provider: str) -> None:
        self._rpc = rpc
        self._provider = provider
        self._capabilities: Mapping[str, Any] = {}
        self._auth_methods: Sequence[Mapping[str, Any]] = ()
        self.agent_version: str | None = None
        self.takes_images = False

    async def initialize(self, *, authenticate: str | None) -> None:
        """Agree on the version, and log in by the method ``authenticate`` if it is given.

        Raises ProtocolViolated if the agent speaks another version, ProviderNotConfigured if it
        does not offer that method.
        """
        told = protocol.told(
            self._provider,
            "initialize",
            protocol.InitializeResponse,
            await self._ask(
                "initialize",
                {
                    "protocolVersion": PROTOCOL_VERSION,
                    "clientCapabilities": {
                        "fs": {"readTextFile": True, "writeTextFile": True},
                        "terminal": True,
                    },
                    "clientInfo": {"name": "moorage", "version": "1"},
                },
            ),
        )
        if told.protocol_version != PROTOCOL_VERSION:
            raise ProtocolViolated(
                f"{self._provider} speaks version {told.protocol_version} of the Agent Client "
                f"Protocol, and this client version {PROTOCOL_VERSION}: take a version of the "
                "agent that speaks it",
                provider=self._provider,
            )
        plain = told.model_dump(by_alias=True)
        self._capabilities = plain.get("agentCapabilities") or {}
        self._auth_methods = plain.get("authMethods") or ()
        self.agent_version = (plain.get("agentInfo") or {}).get("version")
        images = (self._capabilities.get("promptCapabilities") or {}).get("image")
        self.takes_images = images is True
        if authenticate is not None:
            await self._authenticate(authenticate)

    @property
    def resume_method(self) -> str | None:
        """How a session of an earlier process can be continued, if it can."""
        sessions = self._capabilities.get("sessionCapabilities") or {}
        if sessions.get("resume") is not None:
            return AGENT_METHODS["session_resume"]
        return AGENT_METHODS["session_load"] if self._capabilities.get("loadSession") else None

    async def new_session(self, cwd: str, servers: Sequence[Any]) -> tuple[str, Mapping[str, Any]]:
        """A new session's id, and what the agent said of it.

        Raises ProviderNotConfigured if somebody has to log in first.
        """
        try:
            result = await self._ask("session_new", {"cwd": cwd, "mcpServers": list(servers)})
        except AuthenticationFailed as error:
            methods = ", ".join(str(method.get("id")) for method in self._auth_methods) or "none"
            raise ProviderNotConfigured(
                f"{error}: log in to the agent, or give authenticate= one of its methods: "
                f"{methods}",
                provider=self._provider,
            ) from error
        protocol.told(self._provider, "session/new", protocol.NewSessionResponse, result)
        return result["sessionId"], result

    async def resume(
        self, session_id: str, cwd: str, servers: Sequence[Any]
    ) -> Mapping[str, Any] | str:
        """What the agent said of a session that it continues, or a text that says why not."""
        method = self.resume_method
        if method is None:
            return "the agent cannot continue a session of an earlier process"
        params = {"sessionId": session_id, "cwd": cwd, "mcpServers": list(servers)}
        try:
            result = await self._rpc.request(method, params, timeout_seconds=ANSWER_SECONDS)
        except (AuthenticationFailed, ProviderExited):
            raise
        except AgentFailure as error:
            return str(error)
        return result if isinstance(result, dict) else {}

    async def choose_model(self, session_id: str, said: Mapping[str, Any], model: str) -> None:
        """Make ``model`` the session's. Raises RequestInvalid if the agent does not offer it."""
        if (option := _option(said, "model")) is not None:
            offered = _values(option)
            _check_offered(self._provider, "model", model, offered)
            if option.get("currentValue") != model:
                await self._set_option(session_id, option, model)
            return
        listed = said.get("models")
        if not isinstance(listed, dict):
            raise RequestInvalid(
                f"{self._provider} lets nobody choose its model: choose it where the agent is "
                "configured, and leave model= out",
                provider=self._provider,
            )
        models = listed.get("availableModels") or ()
        offered = [str(one.get("modelId")) for one in models]
        _check_offered(self._provider, "model", model, offered)
        if listed.get("currentModelId") != model:
            params = {"sessionId": session_id, "modelId": model}
            await self._rpc.request(SET_MODEL, params, timeout_seconds=ANSWER_SECONDS)

    async def choose_mode(
        self, session_id: str, said: Mapping[str, Any], mode: PermissionMode
    ) -> None:
        """Set the agent's own mode that stands for ``mode``, if it has one."""
        modes = said.get("modes")
        option = _option(said, "mode")
        if isinstance(modes, dict):
            offered = [str(one.get("id")) for one in modes.get("availableModes") or ()]
            current = modes.get("currentModeId")
        elif option is not None:
            offered, current = _values(option), option.get("currentValue")
        else:
            return
        chosen = next((name for name in MODE_NAMES[mode] if name in offered), None)
        if chosen is None or chosen == current:
            return
        if isinstance(modes, dict):
            await self._ask("session_set_mode", {"sessionId": session_id, "modeId": chosen})
        elif option is not None:
            await self._set_option(session_id, option, chosen)

    async def _authenticate(self, method: str) -> None:
        offered = [str(one.get("id")) for one in self._auth_methods]
        if method not in offered:
            raise ProviderNotConfigured(
                f"authenticate is {method!r} and {self._provider} offers: "
                f"{', '.join(offered) or 'none'}",
                provider=self._provider,
            )
        await self._ask("authenticate", {"methodId": method})

    async def _set_option(self, session_id: str, option: Mapping[str, Any], value: str) -> None:
        params = {"sessionId": session_id, "configId": option.get("id"), "value": value}
        await self._ask("session_set_config_option", params)

    async def _ask(self, name: str, params: Mapping[str, Any]) -> Any:
        return await self._rpc.request(AGENT_METHODS[name], params, timeout_seconds=ANSWER_SECONDS)


def current_model(said: Mapping[str, Any]) -> str | None:
    """The model of a session, as far as the agent says it."""
    if (option := _option(said, "model")) is not None:
        value = option.get("currentValue")
    else:
        listed = said.get("models")
        value = listed.get("currentModelId") if isinstance(listed, dict) else None
    return value if isinstance(value, str) else None


def _option(said: Mapping[str, Any], category: str) -> Mapping[str, Any] | None:
    """The option of a category, as agents list options of a session."""
    for option in said.get("configOptions") or ():
        if isinstance(option, dict) and option.get("category") == category:
            return option
    return None


def _values(option: Mapping[str, Any]) -> list[str]:
    """The values of an option, those in groups too."""
    values: list[str] = []
    for one in option.get("options") or ():
        if isinstance(one, dict) and "value" in one:
            values.append(str(one["value"]))
        elif isinstance(one, dict):
            values += _values(one)
    return values


def _check_offered(provider: str, what: str, value: str, offered: Sequence[str]) -> None:
    if value not in offered:
        raise RequestInvalid(
            f"{provider} offers no {what} {value!r}; it offers: {', '.join(offered)[:1000]}",
            provider=provider,
        )
