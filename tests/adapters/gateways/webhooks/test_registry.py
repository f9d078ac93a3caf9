from __future__ import annotations

import attrs
import pytest
from moorage.adapters.gateways.webhooks import Webhook
from moorage.adapters.gateways.webhooks.registry import (
    StoredSecret,
    check_webhook,
    webhook_from_stored,
    webhook_to_json,
    webhook_to_stored,
)
from moorage.adapters.sinks.webhook import new_secret
from moorage.runtime import InvalidArgument, SessionInfo, SessionState

SECRET = new_secret()
SECOND_NS = 1_000_000_000


def webhook(**fields):
    stored = {"id": "whk_1", "url": "https://a.test/", "secrets": (StoredSecret(SECRET),)}
    return Webhook(**{**stored, "created_at_ns": 1, **fields})


def info(id, **tags):
    return SessionInfo(id, SessionState.OPEN, tags, {}, 1, 1, 1, {})


@pytest.mark.parametrize(
    ("fields", "matching"),
    [
        ({}, {"a-1", "a-2", "b-1"}),
        ({"session_id": "a-1"}, {"a-1"}),
        ({"prefix": "a-"}, {"a-1", "a-2"}),
        ({"tags": {"plan": "pro"}}, {"a-2", "b-1"}),
        ({"prefix": "a-", "tags": {"plan": "pro"}}, {"a-2"}),
        ({"tenant": "b-"}, {"b-1"}),
        ({"tenant": "b-", "session_id": "a-1"}, set()),
    ],
)
def test_a_webhook_has_the_sessions_that_it_names(fields, matching):
    infos = [info("a-1"), info("a-2", plan="pro"), info("b-1", plan="pro", x="y")]

    assert {it.id for it in infos if webhook(**fields).matches(it)} == matching


def test_old_secrets_are_used_until_they_expire():
    new, newest = new_secret(), new_secret()
    once = webhook().rotated(new, now_ns=0, keep_seconds=10)
    twice = once.rotated(newest, now_ns=5 * SECOND_NS, keep_seconds=100)

    assert once.keys(9 * SECOND_NS) == [new, SECRET]
    assert once.keys(10 * SECOND_NS) == [new]
    assert twice.keys(9 * SECOND_NS) == [newest, new, SECRET]
    assert twice.keys(11 * SECOND_NS) == [newest, new]
    assert twice.keys(200 * SECOND_NS) == [newest]
    assert twice.rotated(SECRET, now_ns=0, keep_seconds=0).keys(0) == [SECRET]


def test_there_are_never_many_secrets_at_once():
    rotated = webhook()
    for _ in range(10):
        rotated = rotated.rotated(new_secret(), now_ns=0, keep_seconds=100)

    assert len(rotated.keys(0)) == 4


def test_a_webhook_can_be_stored_and_told_and_its_secrets_are_stored_only():
    whole = webhook(types=("a", "b"), prefix="p", tags={"a": ""}, disabled_reason="by hand")
    told = webhook_to_json(whole)

    assert webhook_from_stored(webhook_to_stored(whole)) == whole
    assert webhook_from_stored(webhook_to_stored(webhook())) == webhook()
    assert SECRET not in str(told)
    assert SECRET not in repr(whole)
    assert (told["enabled"], told["types"]) == (False, ["a", "b"])
    assert "tenant" not in told


def test_the_names_of_its_cursors_are_its_own():
    names = {
        name
        for id in ("whk_1", "whk_2")
        for name in (webhook(id=id).cursor, webhook(id=id).offered_cursor)
    }

    assert len(names) == 4


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"session_id": ""}, "session id"),
        ({"session_id": "a", "prefix": "b"}, "not both"),
        ({"session_id": "a", "tags": {"a": "b"}}, "not both"),
        ({"prefix": "a\0"}, "control character"),
        ({"tags": {"": "b"}}, "tag must not be empty"),
        ({"tags": {"a": "b\0"}}, "control character"),
        ({"tags": {str(n): "x" for n in range(65)}}, "65 tags"),
        ({"types": ()}, "0 types"),
        ({"types": ("",)}, "type must not be empty"),
        ({"types": tuple(str(n) for n in range(101))}, "101 types"),
        ({"description": "x" * 1_025}, "longer than 1024 bytes"),
        ({"secrets": (StoredSecret("whsec_short"),)}, "a secret must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(sorted(value)),
)
def test_what_makes_no_sense_is_refused(fields, why):
    with pytest.raises(InvalidArgument, match=why):
        check_webhook(webhook(**fields))


def test_what_makes_sense_is_returned():
    made = webhook(types=("a",), prefix="p-", tags={"a": ""}, description="\u00e4")

    assert check_webhook(made) is made
    assert attrs.evolve(made, disabled_reason="x").enabled is False
