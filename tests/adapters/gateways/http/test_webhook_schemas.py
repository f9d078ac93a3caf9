from __future__ import annotations

from typing import get_args

import attrs
import pytest
from moorage.adapters.gateways.http.schemas import COMPONENTS
from moorage.adapters.gateways.http.webhook_schemas import CHANGED_WEBHOOK, NEW_WEBHOOK
from moorage.adapters.gateways.webhooks import Webhook
from moorage.adapters.gateways.webhooks.dead_letters import DeadLetter
from moorage.adapters.gateways.webhooks.dispatcher import Redelivered
from moorage.adapters.sinks.webhook.posting import Verdict


@pytest.mark.parametrize(
    ("name", "kind"), [("DeadLetter", DeadLetter), ("Redelivered", Redelivered)]
)
def test_a_schema_has_the_fields_that_there_are(name, kind):
    assert set(COMPONENTS[name]["properties"]) == set(attrs.fields_dict(kind))


def test_a_webhook_is_told_whole_but_for_its_tenant_and_what_its_secrets_are():
    told = set(COMPONENTS["Webhook"]["properties"])

    assert told - {"enabled", "status"} == set(attrs.fields_dict(Webhook)) - {"tenant"}
    assert set(COMPONENTS["NewWebhook"]["properties"]) - told == {"secret"}


def test_verdicts_are_those_that_there_are():
    assert COMPONENTS["Posted"]["properties"]["verdict"]["enum"] == list(get_args(Verdict))


def test_what_is_set_cannot_be_set_twice_over():
    assert "session_id" not in CHANGED_WEBHOOK["properties"]  # its cursors are there
    assert NEW_WEBHOOK["required"] == ["url"]
