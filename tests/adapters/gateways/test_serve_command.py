"""What the command refuses; that it serves and ends is tested as a process, in tests/acceptance."""

from __future__ import annotations

import builtins
import socket

import pytest
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways import serve_command
from moorage.adapters.gateways.serve_command import (
    _dispatcher,
    configuration_package,
    made_service,
)
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

pytest.importorskip("starlette")


def test_an_agent_that_there_is_not_is_a_mistake_of_usage(moorage):
    result = moorage("serve", "--agent", "nobody", code=2)

    assert "names no agent" in result.stderr


def test_two_places_are_refused(moorage, tmp_path):
    result = moorage(
        "serve", "--agent", "echo", "--store", "journal:x", "--data", str(tmp_path), code=2
    )

    assert "say either this or --data" in result.stderr


@pytest.mark.parametrize(("bind", "code"), [("0.0.0.0:0", 1), ("nonsense", 2)])
def test_an_address_that_cannot_be_is_refused_with_the_remedy(moorage, bind, code):
    result = moorage("serve", "--agent", "echo", "--bind", bind, code=code)

    assert "127.0.0.1" in result.stderr


def test_tokens_that_others_may_read_are_refused(moorage, tmp_path):
    path = tmp_path / "t.json"
    moorage("tokens", "new", "me", "--tokens", str(path))
    path.chmod(0o644)

    result = moorage("serve", "--agent", "echo", "--tokens", str(path), code=1)

    assert "chmod 600" in " ".join(result.stderr.split())


def test_without_the_extra_it_says_what_to_install(moorage, monkeypatch):
    real = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 1 and "http" in (fromlist or ()):
            raise ModuleNotFoundError("no", name="starlette")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    result = moorage("tokens", "list", code=1)

    assert "pip install 'moorage[http]'" in result.stderr


def test_an_agent_is_needed_somewhere(moorage):
    result = moorage("serve", code=2)

    assert "an agent is needed: --agent SPEC, MOORAGE_AGENT" in result.stderr


def test_all_that_is_wrong_is_told_at_once_with_where_it_was_said(moorage):
    moorage.environment["MOORAGE_LIMITS__IDLE_SECONDS"] = "soon"
    result = moorage("serve", "--agent", "nobody", "--bind", "nonsense", code=2)

    places = sorted(line.split(": ")[1] for line in result.stderr.splitlines())
    assert places == ["--agent", "--bind", "MOORAGE_LIMITS__IDLE_SECONDS"]


def test_a_file_that_cannot_be_read_is_no_mistake_of_usage(moorage, tmp_path):
    result = moorage("serve", "--agent", "echo", "--config", str(tmp_path / "missing.toml"), code=1)

    assert "it cannot be read: No such file or directory" in result.stderr


def test_a_service_is_made_of_what_is_said(tmp_path):
    path = tmp_path / "moorage.toml"
    path.write_text(
        'agents = "echo"\n'
        "[limits]\nsession_slots_default = 2\ndrain_seconds = 3\n"
        "[gateway]\nlimits = {streams_max = 7}\ncors = ['https://a.example']\n"
        "[retention]\ninterval = '2h'\nrules = [{closed_for = '1d'}]\n"
    )
    loaded = configuration_package().load_configuration(
        path,
        environ={"HOME": str(tmp_path)},
        options={"limits.drain_seconds": ("--drain-seconds", 4.0)},
    )

    service = made_service(loaded)

    assert (service.limits.session_slots_default, service.limits.drain_seconds) == (2, 4)
    assert service.http_limits.streams_max == 7
    assert service.cors == ("https://a.example",)
    assert (service.retention_interval_seconds, len(service.retention.rules)) == (7_200, 1)
    assert service.tokens is None


async def test_limits_of_webhooks_are_settings_and_reach_the_dispatcher(tmp_path):
    from moorage.adapters.gateways.webhooks import WebhookLimits
    from moorage.adapters.sinks.webhook import PostLimits

    path = tmp_path / "moorage.toml"
    path.write_text(
        'agents = "echo"\n[gateway]\nwebhooks = "w.json"\n'
        "webhook_limits = {webhooks_per_tenant_max = 3, give_up_seconds = '1h'}\n"
        "webhook_post_limits = {post_seconds = 5, batch_bytes_max = '1MiB'}\n"
    )
    loaded = configuration_package().load_configuration(
        path, environ={"HOME": str(tmp_path)}, options={}
    )

    service = made_service(loaded)
    async with open_supervisor(MemoryStore(), ScriptedAgent()) as supervisor:
        dispatcher = _dispatcher(service, supervisor)

    assert dispatcher.limits == WebhookLimits(webhooks_per_tenant_max=3, give_up_seconds=3_600)
    assert dispatcher.file.limits is dispatcher.limits
    assert dispatcher.poster.limits == PostLimits(post_seconds=5, batch_bytes_max=2**20)


def test_webhooks_that_others_may_read_and_networks_that_are_none_are_refused(moorage, tmp_path):
    path = tmp_path / "w.json"
    serve = ["serve", "--agent", "echo", "--data", str(tmp_path / "data"), "--webhooks", str(path)]
    network = moorage(*serve, "--webhook-network", "everything", code=2)
    path.write_text("{}")
    path.chmod(0o644)
    readable = moorage(*serve, code=1)

    assert "'everything' is no network" in " ".join(network.stderr.split())
    assert "chmod 600" in " ".join(readable.stderr.split())


def test_an_address_that_is_taken_is_named(moorage):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        result = moorage("serve", "--agent", "echo", "--bind", bind, code=1)

    assert f"moorage: {bind}: Address already in use\n" in result.stderr


def test_a_file_of_webhooks_that_is_not_there_is_told(moorage, tmp_path, monkeypatch):
    async def nothing(service):
        pass

    monkeypatch.setattr(serve_command, "run_service", nothing)
    path = tmp_path / "none.json"
    serve = ("serve", "--agent", "echo", "--webhooks", str(path))
    told = moorage(*serve).stderr
    path.write_text('{"version": 1, "webhooks": []}')
    path.chmod(0o600)

    assert told == (f"moorage: {path} is not there yet: webhooks that are registered make it\n")
    assert moorage(*serve).stderr == ""
