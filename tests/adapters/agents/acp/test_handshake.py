from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.recording import Ended, RecordingContext, execute

from tests.adapters.agents.acp.fake_acp import FakeAcp, text

pytest.importorskip("acp")

from moorage.adapters.agents.acp.agent import AcpAgent
from moorage.adapters.agents.acp.handshake import current_model

if TYPE_CHECKING:
    from pathlib import Path


def option(category: str, current: str, *values: str) -> dict[str, Any]:
    return {
        "id": f"o-{category}",
        "name": category,
        "type": "select",
        "category": category,
        "currentValue": current,
        "options": [{"value": value, "name": value} for value in values],
    }


async def run(fake: FakeAcp, directory: Path, **arguments: Any) -> Ended:
    context = RecordingContext()
    with trio.fail_after(60):
        agent = AcpAgent(fake.command, working_directory=directory, **arguments)
        return await execute(agent, context.request("Hello"), context)


async def test_another_version_of_the_protocol_is_refused(tmp_path: Path) -> None:
    ended = await run(FakeAcp(tmp_path, version=2), tmp_path)

    assert getattr(ended.error, "code", None) == "provider_protocol"
    assert "speaks version 2" in str(ended.error)


async def test_an_answer_of_another_shape_is_refused(tmp_path: Path) -> None:
    ended = await run(FakeAcp(tmp_path, version="latest"), tmp_path)

    assert getattr(ended.error, "code", None) == "provider_protocol"


async def test_an_agent_nobody_has_logged_in_to_names_its_methods(tmp_path: Path) -> None:
    fake = FakeAcp(
        tmp_path,
        auth_methods=[{"id": "key", "name": "Key"}],
        errors={"session/new": {"code": -32000, "message": "Authentication required"}},
    )

    ended = await run(fake, tmp_path)

    assert getattr(ended.error, "code", None) == "provider_not_configured"
    assert "key" in str(ended.error)


async def test_a_login_method_is_used_before_the_session_begins(tmp_path: Path) -> None:
    fake = FakeAcp(tmp_path, text("Hi"), auth_methods=[{"id": "key", "name": "Key"}])

    await run(fake, tmp_path, authenticate="key")
    ended = await run(fake, tmp_path, authenticate="card")

    assert fake.asked("authenticate") == [{"methodId": "key"}]
    assert getattr(ended.error, "code", None) == "provider_not_configured"


async def test_a_model_is_chosen_among_the_options_of_the_session(tmp_path: Path) -> None:
    session = {"configOptions": [option("model", "small", "small", "big")]}
    fake = FakeAcp(tmp_path, text("Hi"), session=session)

    ended = await run(fake, tmp_path, model="big")
    await run(fake, tmp_path, model="small")
    missing = await run(fake, tmp_path, model="huge")

    assert fake.asked("session/set_config_option") == [
        {"sessionId": "s-new", "configId": "o-model", "value": "big"}
    ]
    assert ended.output["model"] == "big"
    assert getattr(missing.error, "code", None) == "request_invalid"
    assert "small, big" in str(missing.error)


async def test_a_model_is_chosen_in_a_list_of_models_too(tmp_path: Path) -> None:
    models = {"currentModelId": "a", "availableModels": [{"modelId": "a"}, {"modelId": "b"}]}
    fake = FakeAcp(tmp_path, text("Hi"), session={"models": models})

    await run(fake, tmp_path, model="b")

    assert fake.asked("session/set_model") == [{"sessionId": "s-new", "modelId": "b"}]


async def test_an_agent_without_a_choice_of_models_says_so(tmp_path: Path) -> None:
    ended = await run(FakeAcp(tmp_path), tmp_path, model="b")

    assert getattr(ended.error, "code", None) == "request_invalid"


@pytest.mark.parametrize(
    ("mode", "set_to"),
    [("plan", "plan"), ("accept_edits", "acceptEdits"), ("default", None), ("full_auto", None)],
)
async def test_the_agents_own_mode_follows_ours_where_it_has_one(
    tmp_path: Path, mode: Any, set_to: str | None
) -> None:
    modes = {
        "currentModeId": "code",
        "availableModes": [{"id": id, "name": id} for id in ("code", "plan", "acceptEdits")],
    }
    fake = FakeAcp(tmp_path, text("Hi"), session={"modes": modes})

    await run(fake, tmp_path, permission_mode=mode)

    set_modes = [params["modeId"] for params in fake.asked("session/set_mode")]
    assert set_modes == ([] if set_to is None else [set_to])


async def test_a_mode_may_be_an_option_too(tmp_path: Path) -> None:
    session = {"configOptions": [option("mode", "build", "build", "plan")]}
    fake = FakeAcp(tmp_path, text("Hi"), session=session)

    await run(fake, tmp_path, permission_mode="plan")

    assert fake.asked("session/set_config_option")[0]["value"] == "plan"


def test_the_model_of_a_session_is_where_agents_put_it() -> None:
    assert current_model({"configOptions": [option("model", "m", "m")]}) == "m"
    assert current_model({"models": {"currentModelId": "m"}}) == "m"
    assert current_model({}) is None
