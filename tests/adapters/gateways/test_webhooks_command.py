from __future__ import annotations

import attrs
import pytest

pytest.importorskip("httpcore")

from moorage.adapters.gateways.webhooks import WebhookFile
from moorage.adapters.gateways.webhooks.dead_letters import DeadLetter

URL = "https://hook.test/a"
LETTER = DeadLetter(
    id="msg_1", session_id="a", first_seq=1, last_seq=2, attempts=3, error="answered 500", time_ns=4
)


@pytest.fixture
def file(tmp_path):
    return WebhookFile(tmp_path / "webhooks.json")


@pytest.fixture
def webhooks(moorage, file):
    def call(*arguments, **options):
        return moorage("webhooks", *arguments, "--webhooks", str(file.path), **options)

    call.json = lambda *arguments: moorage.json(
        "webhooks", *arguments, "--webhooks", str(file.path)
    )
    return call


def test_a_webhook_is_registered_listed_and_removed(webhooks, file):
    made = webhooks("add", URL, "--prefix", "acme-", "--tag", "plan=pro", "--type", "run_failed")
    (listed,) = webhooks.json("list")
    table = webhooks("list").stdout
    (stored,) = file.webhooks()
    webhooks("remove", listed["id"])

    assert made.stdout.strip() == stored.keys(0)[0]
    assert (listed["id"], listed["url"], listed["types"]) == (stored.id, URL, ["run_failed"])
    assert (listed["prefix"], listed["tags"], listed["dead_letters"]) == (
        "acme-",
        {"plan": "pro"},
        0,
    )
    assert stored.since_ns == stored.created_at_ns
    assert stored.keys(0)[0] not in table + str(listed)
    assert "enabled" in table
    assert file.webhooks() == []


def test_json_has_the_secret_this_once(webhooks, file):
    made = webhooks.json("add", URL, "--session", "a", "--beginning")
    (stored,) = file.webhooks()

    assert made["secret"] == stored.keys(0)[0]
    assert (made["session_id"], made["since_ns"]) == ("a", 0)


def test_a_disabled_one_goes_on(webhooks, file):
    made, _ = file.add(URL, created_at_ns=1)
    file.disable(made, "gone")
    assert webhooks.json("list")[0]["disabled_reason"] == "gone"
    webhooks("enable", made.id)

    assert file.webhooks() == [attrs.evolve(made, disabled_reason=None)]


def test_dead_letters_are_shown(webhooks, file):
    made, _ = file.add(URL, created_at_ns=1)
    file.dead_letters(made.id).add(LETTER)

    assert webhooks.json("dead-letters", made.id) == [attrs.asdict(LETTER)]
    assert "answered 500" in webhooks("dead-letters", made.id).stdout
    assert webhooks.json("list")[0]["dead_letters"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["add", "https://10.0.0.1/"], 2, "which is private"),
        (["add", "http://hook.test/"], 2, "must begin with https"),
        (["add", "https://10.0.0.1/"], 2, "allow one here with --network"),
        (["add", "http://127.0.0.1/"], 2, "allow one here with --network"),
        (["add", "https://10.0.0.1/", "--network", "127.0.0.0/8"], 2, "with --network"),
        (["add", URL, "--network", "nonsense"], 2, "nonsense"),
        (["add", URL, "--session", "a", "--prefix", "b"], 2, "not both"),
        (["enable", "whk_none"], 1, "see moorage webhooks list"),
        (["remove", "whk_none"], 1, "see moorage webhooks list"),
        (["dead-letters", "whk_none"], 1, "see moorage webhooks list"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_refused(moorage, webhooks, file, arguments, code, why):
    moorage.environment["COLUMNS"] = "400"
    result = webhooks(*arguments, code=code)

    assert why in " ".join(result.stderr.split())
    assert file.webhooks() == []


def test_an_allowed_network_is_a_place_for_a_webhook(webhooks, file):
    webhooks("add", "http://10.1.2.3/", "--network", "10.1.0.0/16")

    assert [it.url for it in file.webhooks()] == ["http://10.1.2.3/"]


def test_a_url_that_no_network_would_help_is_refused_without_a_word_of_them(webhooks):
    assert "--network" not in webhooks("add", "ftp://127.0.0.1/", code=2).stderr


def test_the_networks_of_the_settings_are_allowed_unless_others_are_given(moorage, tmp_path):
    settings, local = tmp_path / "moorage.toml", "http://127.0.0.1:8990/"
    settings.write_text(
        "gateway.webhooks = 'hooks.json'\ngateway.webhook_networks = ['127.0.0.0/8']"
    )
    add = ["--config", str(settings), "webhooks", "add"]
    moorage(*add, local)
    refused = moorage(*add, local, "--network", "10.0.0.0/8", code=2)

    assert [it.url for it in WebhookFile(tmp_path / "hooks.json").webhooks()] == [local]
    assert "which is loopback" in " ".join(refused.stderr.split())


def test_the_settings_say_where_the_webhooks_are(moorage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moorage.toml").write_text("gateway.webhooks = 'hooks.json'")
    before = ["--config", "moorage.toml", "webhooks"]
    moorage(*before, "add", URL)
    (listed,) = moorage.json(*before, "list")
    moorage(*before, "enable", listed["id"])
    moorage(*before, "dead-letters", listed["id"])
    moorage(*before, "remove", listed["id"])

    assert moorage(*before, "list").stderr == f"moorage: no webhooks in {tmp_path}/hooks.json\n"
    assert not (tmp_path / "moorage-webhooks.json").exists()
