from __future__ import annotations

import inspect

from moorage.adapters.gateways.configuration.schema import DEFAULT_BIND, Configuration
from moorage.adapters.gateways.configuration.settings import all_settings
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http.serving import DEFAULT_BIND as SERVED
from moorage.adapters.gateways.serve_command import serve
from moorage.adapters.gateways.webhooks import WebhookLimits
from moorage.adapters.sinks.webhook import PostLimits
from moorage.runtime import SupervisorLimits


def test_without_anything_said_it_is_what_the_programs_defaults_are():
    configuration = Configuration()

    assert configuration.limits == SupervisorLimits()
    assert configuration.gateway.limits == HttpLimits()
    assert configuration.gateway.webhook_limits == WebhookLimits()
    assert configuration.gateway.webhook_post_limits == PostLimits()
    assert configuration.gateway.bind == DEFAULT_BIND == SERVED


def test_every_setting_is_described_and_named_once():
    settings = list(all_settings(Configuration))
    paths = [path for path, _, _ in settings]

    assert len(set(paths)) == len(paths)
    assert all(setting.doc.endswith((".", "…")) for _, setting, _ in settings)


def test_no_name_has_what_separates_names_in_variables():
    assert not [path for path, _, _ in all_settings(Configuration) if "__" in path]


def test_options_that_settings_name_are_those_of_the_command():
    parameters = inspect.signature(serve).parameters
    named = {setting.option for _, setting, _ in all_settings(Configuration) if setting.option}

    assert {option.removeprefix("--").replace("-", "_") for option in named} <= set(parameters)
