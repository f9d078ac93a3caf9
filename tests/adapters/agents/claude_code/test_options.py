from __future__ import annotations

import pytest
from moorage.adapters.agents.claude_code.options import (
    RESERVED,
    allows_all,
    option_values,
    permission_mode,
)
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.runtime.errors import InvalidArgument


def test_nothing_said_is_claude_code_as_it_comes():
    assert option_values(AgentSettings()) == {
        "include_partial_messages": True,
        "verbatim_prompts": True,
        "system_prompt": {"type": "preset", "preset": "claude_code"},
        "permission_mode": "default",
    }


def test_settings_have_their_names_in_the_sdk():
    settings = AgentSettings(
        model="m",
        system_prompt="Be brief.",
        working_directory="/srv/work",
        turns_max=3,
        permission_mode="accept_edits",
    )

    values = option_values(settings, instructions="In French.")

    assert values["model"] == "m"
    assert values["system_prompt"] == "Be brief.\n\nIn French."
    assert values["cwd"] == "/srv/work"
    assert values["max_turns"] == 3
    assert values["permission_mode"] == "acceptEdits"


def test_instructions_are_laid_behind_claude_codes_own_prompt():
    values = option_values(AgentSettings(), instructions="In French.")

    assert values["system_prompt"] == {
        "type": "preset",
        "preset": "claude_code",
        "append": "In French.",
    }


def test_provider_options_go_through_as_they_are():
    given = {"betas": ["b"], "verbatim_prompts": False, "effort": None}

    values = option_values(AgentSettings(provider_options=given))

    assert values["betas"] == ["b"]
    assert values["verbatim_prompts"] is False
    assert "effort" not in values


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_an_option_with_another_place_is_refused_with_that_place(name):
    with pytest.raises(InvalidArgument, match=f"'{name}': {RESERVED[name][:20]}"):
        option_values(AgentSettings(provider_options={name: "x"}))


@pytest.mark.parametrize("name", ["mcp_servers", "extra_args", "agents"])
def test_an_option_of_the_wrong_kind_is_refused(name):
    with pytest.raises(InvalidArgument, match="must be a map"):
        option_values(AgentSettings(provider_options={name: ["x"]}))


@pytest.mark.parametrize(
    ("mode", "theirs", "all_"),
    [
        (None, "default", False),
        ("default", "default", False),
        ("accept_edits", "acceptEdits", False),
        ("plan", "plan", False),
        ("full_auto", "default", True),
        ("dangerously_skip_permissions", "bypassPermissions", False),
    ],
)
def test_every_permission_mode_has_its_meaning(mode, theirs, all_):
    settings = AgentSettings(permission_mode=mode)

    assert permission_mode(settings) == theirs
    assert allows_all(settings) is all_
