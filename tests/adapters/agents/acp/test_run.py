from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.provider.failures import ProviderUnavailable, RequestInvalid
from moorage.adapters.agents.provider.text_prompts import TextPrompt
from moorage.adapters.agents.recording import Ended, RecordingContext, execute

from tests.adapters.agents.acp.fake_acp import FakeAcp, text, tool

pytest.importorskip("acp")

from moorage.adapters.agents.acp.agent import AcpAgent
from moorage.adapters.agents.acp.run import (
    explained,
    prompt_blocks,
)

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = {"type": "image", "media_type": "image/png", "data": b"\x00\x01"}


async def run(fake: FakeAcp, directory: Path, **arguments: Any) -> tuple[Ended, RecordingContext]:
    context = RecordingContext()
    with trio.fail_after(60):
        agent = AcpAgent(fake.command, working_directory=directory, **arguments)
        return await execute(agent, context.request("Hello"), context), context


@pytest.mark.parametrize(
    ("reason", "code"),
    [("refusal", "content_refused"), ("max_turn_requests", "turns_exceeded")],
)
async def test_some_reasons_to_stop_are_failures(tmp_path: Path, reason: str, code: str) -> None:
    ended, context = await run(FakeAcp(tmp_path, ["end", {"stopReason": reason}]), tmp_path)

    assert getattr(ended.error, "code", None) == code
    assert [e.data["code"] for e in context.events if e.type == "error_occurred"] == [code]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Internal error: bad api key", "provider_authentication"),
        ("429 too many requests", "provider_rate_limited"),
        ("something else", "provider_unavailable"),
    ],
)
async def test_an_internal_error_is_what_its_text_says(
    tmp_path: Path, message: str, code: str
) -> None:
    fake = FakeAcp(tmp_path, text("Well,"), ["error", {"code": -32603, "message": message}])

    ended, context = await run(fake, tmp_path)

    assert getattr(ended.error, "code", None) == code
    said = [e.data["content"] for e in context.events if e.type == "message_received"]
    assert said == ["Well,"]


async def test_updates_of_other_sessions_and_of_earlier_times_are_passed_over(
    tmp_path: Path,
) -> None:
    foreign = {"sessionId": "other", "update": text("not ours")[1]}
    line = '{"jsonrpc":"2.0","method":"session/update","params":%s}\n'
    fake = FakeAcp(tmp_path, ["raw", line % json.dumps(foreign)], text("ours"))

    _, context = await run(fake, tmp_path)

    assert context.deltas() == "ours"


async def test_other_notifications_are_kept(tmp_path: Path) -> None:
    line = '{"jsonrpc":"2.0","method":"_vendor/news","params":{"a":1}}\n'

    _, context = await run(FakeAcp(tmp_path, ["raw", line], text("x")), tmp_path)

    kept = [e.data["original"] for e in context.events if e.type == "provider_event"]
    assert kept == [{"method": "_vendor/news", "params": {"a": 1}}]


async def test_calls_that_did_not_end_are_told_as_failed(tmp_path: Path) -> None:
    _, context = await run(FakeAcp(tmp_path, tool("in_progress", first=True)), tmp_path)

    failed = [e.data for e in context.events if e.type == "tool_call_failed"]
    assert failed[0]["error"]["code"] == "interrupted"


def test_images_go_with_the_prompt_to_agents_that_take_them() -> None:
    prompt = TextPrompt("See", (IMAGE,))

    assert prompt_blocks(prompt, takes_images=True, provider="acp") == [
        {"type": "text", "text": "See"},
        {"type": "image", "mimeType": "image/png", "data": "AAE="},
    ]
    with pytest.raises(RequestInvalid, match="takes no images"):
        prompt_blocks(prompt, takes_images=False, provider="acp")


def test_only_internal_errors_are_read() -> None:
    invalid = RequestInvalid("429", provider="acp")
    internal = ProviderUnavailable("odd", provider="acp", facts={"rpc_data": {"status": "x 429"}})

    assert explained(invalid, "acp") is invalid
    assert explained(internal, "acp") is internal
