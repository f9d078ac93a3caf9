from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from moorage.adapters.agents.provider.settings import (
    OPTIONS,
    AgentSettings,
    changes_to_record,
    child_environment,
    resolve,
)
from moorage.runtime.codec import pack
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.overrides import overriding


def test_nothing_is_said_unless_it_is_given():
    settings = AgentSettings()

    assert set(attrs.asdict(settings).values()) == {None}
    assert settings.recorded() == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": ""}, "model must be None or a text, not ''"),
        ({"model": 7}, "model must be None or a text, not 7"),
        ({"system_prompt": " "}, "system_prompt must be None or a text"),
        ({"working_directory": "a\0b"}, "working_directory must be None or a text"),
        ({"turns_max": 0}, "turns_max must be None or a whole number of at least 1, not 0"),
        ({"turns_max": True}, "turns_max must be None or a whole number of at least 1, not True"),
        ({"permission_mode": "yolo"}, "permission_mode must be None or one of default, accept"),
        ({"continuation": "magic"}, "continuation must be None or one of none, auto, replay"),
        ({"environment": ["A"]}, "environment must be None or a map with text keys"),
        ({"environment": {"A=B": "1"}}, "environment has the name 'A=B'"),
        ({"environment": {"A": 1}}, "environment['A'] must be a text"),
        ({"provider_options": {1: 2}}, "provider_options must be None or a map with text keys"),
    ],
)
def test_bad_values_are_refused_by_name(values, message):
    with pytest.raises(InvalidArgument) as caught:
        AgentSettings(**values)

    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["environment", "provider_options"])
@pytest.mark.parametrize("value", [{1: "x", "KEY": "s3cret"}, ["s3cret"]])
def test_what_is_refused_of_variables_and_options_is_not_told(name, value):
    with pytest.raises(InvalidArgument, match=f"{name} must be") as caught:
        AgentSettings(**{name: value})

    assert "s3cret" not in str(caught.value)


def test_a_path_may_be_given_for_the_working_directory():
    assert AgentSettings(working_directory=Path("src")).working_directory == "src"


def test_what_is_said_over_it_beats_the_settings_and_maps_are_merged_by_key():
    below = AgentSettings(
        model="small", turns_max=3, environment={"A": "1", "B": "2"}, provider_options={"x": 1}
    )
    above = AgentSettings(model="large", environment={"B": None}, continuation="none")

    merged = below.merged(above)

    expected = AgentSettings(
        model="large",
        turns_max=3,
        continuation="none",
        environment={"A": "1", "B": None},
        provider_options={"x": 1},
    )
    assert expected == merged


def test_options_of_an_input_are_read_by_name():
    settings = AgentSettings.from_options({"model": "large", "provider_options": {"effort": 3}})

    assert AgentSettings(model="large", provider_options={"effort": 3}) == settings
    assert AgentSettings.from_options(None) == AgentSettings()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("large", "options must be None or a map"),
        ({"modell": "large"}, "options has 'modell': known are model, system_prompt"),
        ({"environment": {"KEY": "secret"}}, "give it to the agent's constructor"),
    ],
)
def test_options_that_nobody_knows_are_refused(options, message):
    with pytest.raises(InvalidArgument) as caught:
        AgentSettings.from_options(options)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_recorded_is_plain_has_no_secrets_and_can_be_read_again():
    settings = AgentSettings(
        model="large",
        turns_max=3,
        environment={"KEY": "secret"},
        provider_options={"effort": 3, "callback": print},
    )

    recorded = settings.recorded()

    pack(recorded)
    assert recorded == {"model": "large", "turns_max": 3}
    assert AgentSettings.from_options(recorded).recorded() == recorded
    assert set(attrs.fields_dict(AgentSettings)) - set(OPTIONS) == {"environment"}


def test_variables_and_provider_options_are_not_shown():
    settings = AgentSettings(environment={"KEY": "secret"}, provider_options={"key": "secret"})

    assert "secret" not in repr(settings)


def test_the_run_beats_the_agent_which_beats_what_was_recorded():
    settings = AgentSettings(model="agent", turns_max=5)
    recorded = {"model": "recorded", "turns_max": 1, "system_prompt": "be brief", "newer": 1}

    resolved = resolve(
        settings, {"prompt": "hi", "options": {"model": "run"}}, recorded, provider="x"
    )

    assert AgentSettings(model="run", turns_max=5, system_prompt="be brief") == resolved
    assert resolve(settings, "hi", None, provider="x") == settings


def test_overrides_are_between_the_run_and_the_agent():
    settings = AgentSettings(model="agent", turns_max=5, provider_options={"a": 1, "b": 1})
    asked = {"prompt": "hi", "options": {"turns_max": 7}}

    with overriding(model="over", turns_max=6, provider_options={"b": 2}, other_setting=1):
        resolved = resolve(settings, asked, None, provider="x")

    merged = {"a": 1, "b": 2}
    assert AgentSettings(model="over", turns_max=7, provider_options=merged) == resolved


def test_a_bad_override_is_refused_where_it_is_used():
    with overriding(turns_max="many"), pytest.raises(InvalidArgument, match="turns_max"):
        resolve(AgentSettings(), "hi", None, provider="x")


def test_the_model_of_one_provider_is_none_for_another():
    recorded = {"model": "gpt", "provider": "openai", "system_prompt": "be brief"}

    same = resolve(AgentSettings(), "hi", recorded, provider="openai")
    other = resolve(AgentSettings(), "hi", recorded, provider="claude")

    assert (same.model, other.model) == ("gpt", None)
    assert other.system_prompt == "be brief"


def test_only_what_changed_is_recorded():
    settings = AgentSettings(model="large", turns_max=3)
    recorded = {"model": "large", "turns_max": 1, "provider": "x", "tools": ["look"]}

    changes = changes_to_record(settings, recorded, provider="x", tools=["look", "see"])

    assert changes == {"turns_max": 3, "tools": ["look", "see"]}
    assert changes_to_record(settings, {**recorded, **changes}, provider="x") == {}


def test_bad_options_of_a_run_are_refused():
    with pytest.raises(InvalidArgument):
        resolve(
            AgentSettings(), {"prompt": "hi", "options": {"turns_max": "many"}}, None, provider="x"
        )


def test_a_program_gets_our_variables_with_the_given_ones_over_them(monkeypatch):
    monkeypatch.setenv("MOORAGE_KEPT", "1")
    monkeypatch.setenv("MOORAGE_LEFT_OUT", "1")

    variables = child_environment({"MOORAGE_LEFT_OUT": None, "MOORAGE_SET": "2"})

    assert (variables["MOORAGE_KEPT"], variables["MOORAGE_SET"]) == ("1", "2")
    assert "MOORAGE_LEFT_OUT" not in variables
