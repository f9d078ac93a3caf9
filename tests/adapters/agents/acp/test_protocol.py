from __future__ import annotations

import pytest
from moorage.adapters.agents.provider.failures import ProtocolViolated
from moorage.adapters.agents.provider.json_rpc import RpcRefused

pytest.importorskip("acp")

from moorage.adapters.agents.acp.protocol import (
    InitializeResponse,
    ReadTextFileRequest,
    asked,
    told,
)


def test_what_has_the_protocols_shape_is_taken() -> None:
    request = asked(ReadTextFileRequest, {"sessionId": "s", "path": "/a", "line": 2})
    answer = told("acp", "initialize", InitializeResponse, {"protocolVersion": 1})

    assert (request.path, request.line) == ("/a", 2)
    assert answer.protocol_version == 1


def test_anything_else_is_refused_or_a_violation() -> None:
    with pytest.raises(RpcRefused, match="path"):
        asked(ReadTextFileRequest, {"sessionId": "s"})
    with pytest.raises(ProtocolViolated, match="answered initialize"):
        told("acp", "initialize", InitializeResponse, {"protocolVersion": -1})
