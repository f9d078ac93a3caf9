"""The Agent Client Protocol's own names and shapes. Needs the extra ``acp``.

The package ``agent-client-protocol`` runs connections on asyncio; here only its schema serves, so
that what an agent asks of us is checked before anything is done for it.
"""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from acp.meta import AGENT_METHODS, CLIENT_METHODS, PROTOCOL_VERSION
from acp.schema import (
    CreateTerminalRequest,
    InitializeResponse,
    KillTerminalRequest,
    NewSessionResponse,
    ReadTextFileRequest,
    ReleaseTerminalRequest,
    RequestPermissionRequest,
    TerminalOutputRequest,
    WaitForTerminalExitRequest,
    WriteTextFileRequest,
)

from ..provider.failures import ProtocolViolated
from ..provider.json_rpc import INVALID_PARAMS, RpcRefused

__all__ = [
    "AGENT_METHODS",
    "CLIENT_METHODS",
    "PROTOCOL_VERSION",
    "CreateTerminalRequest",
    "InitializeResponse",
    "KillTerminalRequest",
    "NewSessionResponse",
    "ReadTextFileRequest",
    "ReleaseTerminalRequest",
    "RequestPermissionRequest",
    "TerminalOutputRequest",
    "WaitForTerminalExitRequest",
    "WriteTextFileRequest",
    "asked",
    "told",
]


class Shape(Protocol):
    """A model of the schema."""

    @classmethod
    def model_validate(cls, obj: Any) -> Self: ...


Model = TypeVar("Model", bound=Shape)


def asked(model: type[Model], params: Any) -> Model:
    """What an agent asks of us. Raises RpcRefused if it has not the protocol's shape."""
    try:
        return model.model_validate(params)
    except ValueError as error:
        raise RpcRefused(INVALID_PARAMS, _short(error)) from error


def told(provider: str, method: str, model: type[Model], result: Any) -> Model:
    """What an agent answered to ``method``. Raises ProtocolViolated if it has another shape."""
    try:
        return model.model_validate(result)
    except ValueError as error:
        raise ProtocolViolated(
            f"{provider} answered {method} with what the protocol does not have: {_short(error)}",
            provider=provider,
        ) from error


def _short(error: ValueError) -> str:
    return " ".join(str(error).split())[:500]
