"""What is switched on by which option; that a server shows it is tested as a process, in
tests/acceptance."""

from __future__ import annotations

import subprocess
import sys

import pytest
from moorage.adapters.gateways.serve_telemetry import ServeTelemetry, open_observed
from moorage.adapters.sinks.telemetry import AuditFailed, AuditLog, RequestTracing, RunMetrics
from moorage.runtime import Supervisor
from moorage.stores import MemoryStore

BLOCKED = """
import sys
for name in ("opentelemetry", "prometheus_client"):
    sys.modules[name] = None
sys.argv = ["moorage", "serve", "--agent", "echo", "--bind", "127.0.0.1:1", *sys.argv[1:]]
from moorage.adapters.gateways.command_line import main
main()
"""


async def echo(request, context):
    return request.input


@pytest.fixture
def quiet_exporters(monkeypatch):
    for signal in ("TRACES", "METRICS"):
        monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "none")


async def test_without_options_there_is_nothing():
    async with open_observed(ServeTelemetry(), MemoryStore(), echo) as (supervisor, keywords):
        assert isinstance(supervisor, Supervisor)
        assert keywords == {}


@pytest.mark.parametrize("agents", [echo, {"one": echo}], ids=["one", "named"])
async def test_with_all_of_them_there_is_everything(tmp_path, quiet_exporters, agents):
    told = ServeTelemetry(metrics=True, otel=True, audit=tmp_path / "audit.jsonl")
    async with open_observed(told, MemoryStore(), agents) as (supervisor, keywords):
        session = await supervisor.session("a")
        outcome = await session.execute("x", agent=None if agents is echo else "one")

    assert outcome.output == "x"
    assert {name: type(value) for name, value in keywords.items()} == {
        "metrics": RunMetrics,
        "audit": AuditLog,
        "tracing": RequestTracing,
    }
    assert keywords["metrics"].totals.runs["completed"] == 1


async def test_a_log_that_cannot_be_written_keeps_the_server_from_starting(tmp_path):
    told = ServeTelemetry(audit=tmp_path / "nowhere" / "audit.jsonl")
    with pytest.raises(AuditFailed, match="nowhere"):
        async with open_observed(told, MemoryStore(), echo):
            pass


@pytest.mark.parametrize(("option", "extra"), [("--metrics", "prometheus"), ("--otel", "otel")])
def test_what_is_not_installed_is_named_before_anything_is_opened(tmp_path, option, extra):
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED, "--data", "data", option],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert result.returncode == 1
    assert f"pip install 'moorage[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()
