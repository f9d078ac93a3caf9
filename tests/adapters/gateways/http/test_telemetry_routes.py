from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from moorage.adapters.gateways.http import SCOPES, TokenFile
from moorage.adapters.sinks.telemetry import RunMetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.rules.source_tree import ROOT


def samples(text: str) -> dict:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_runs_requests_and_streams_are_on_one_page(autojump_clock, serving):
    async with serving(metrics=RunMetrics()) as service:
        await service.submit("a", "hello")
        await service.client("GET", "/v1/sessions/a/status")
        await service.client("GET", "/v1/sessions/b/status")
        await service.client("GET", "/nothing")
        async with service.client.stream("/v1/sessions/a/events"):
            answer = await service.client("GET", "/metrics")

    found = samples(answer.content.decode())
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert found["moorage_runs_total", "completed"] == 1
    assert found["moorage_http_requests_total", "get_session_status", "200"] == 1
    assert found["moorage_http_requests_total", "get_session_status", "404"] == 1
    assert found["moorage_http_requests_total", "unknown", "404"] == 1
    assert found["moorage_http_request_seconds_count", "submit_run"] == 1
    assert found["moorage_http_streams",] == 1
    assert found["moorage_http_requests_in_progress",] == 2  # the stream, and this
    assert found["moorage_http_received_bytes_total",] == len('{"input": "hello"}')
    assert found["moorage_http_sent_bytes_total",] > 100
    assert found["moorage_sessions_resident",] == 1


async def test_no_session_and_no_client_is_named(autojump_clock, serving):
    async with serving(metrics=RunMetrics()) as service:
        for number in range(5):
            await service.submit(f"secret-{number}", "x")
            await service.client(f"BREW{number}", f"/secret/{number}")
        text = (await service.client("GET", "/metrics")).content.decode()
        again = (await service.client("GET", "/metrics")).content.decode()

    assert "secret" not in text
    assert "BREW" not in text
    assert samples(again).keys() - samples(text).keys() == {
        key for key in samples(again) if "get_metrics" in key
    }


@pytest.mark.parametrize(
    ("scopes", "prefix", "status"),
    [
        (("metrics",), "", 200),
        (("admin",), "", 200),
        (("read", "write", "approve"), "", 403),
        (SCOPES, "acme-", 403),
    ],
)
async def test_only_who_watches_the_whole_server_may(serving, tmp_path, scopes, prefix, status):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.issue("watcher", scopes=scopes, prefix=prefix).token
    async with serving(auth=file, metrics=RunMetrics()) as service:
        client = service.client.with_headers(authorization=f"Bearer {token}")
        answers = [await client(method, "/metrics") for method in ("GET", "HEAD")]
        nobody = await service.client("GET", "/metrics")

    assert [answer.status for answer in answers] == [status, status]
    assert nobody.status == 401


async def test_who_watches_sees_nothing_else(serving, tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.issue("watcher", scopes=["metrics"]).token
    async with serving(auth=file) as service:
        client = service.client.with_headers(authorization=f"Bearer {token}")
        answers = [
            await client(method, path)
            for method, path in (
                ("GET", "/v1/sessions"),
                ("POST", "/v1/sessions"),
                ("GET", "/v1/statistics"),
            )
        ]

    assert [answer.code for answer in answers] == ["scope_missing"] * 3


async def test_where_nothing_is_counted_that_is_said(serving):
    async with serving() as service:
        answer = await service.client("GET", "/metrics")

    assert (answer.status, answer.code) == (404, "metrics_off")
    assert "moorage serve --metrics" in answer.json()["detail"]


async def test_without_the_extra_it_is_named(serving, monkeypatch):
    real = importlib.import_module

    def blocked(name, package=None):
        if name == ".prometheus":
            raise ModuleNotFoundError("No module named 'prometheus_client'")
        return real(name, package)

    from moorage.adapters.sinks import telemetry

    monkeypatch.setattr(telemetry, "import_module", blocked)
    async with serving(metrics=RunMetrics()) as service:
        answer = await service.client("GET", "/metrics")

    assert (answer.status, answer.code) == (501, "extra_missing")
    assert "pip install 'moorage[prometheus]'" in answer.json()["detail"]


BLOCKED = """
import sys
for name in ("opentelemetry", "prometheus_client"):
    sys.modules[name] = None
import trio
from moorage.adapters.gateways.http import create_app
from moorage.adapters.sinks.telemetry import AuditLog, RunMetrics
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore
from tests.adapters.gateways.http.asgi_client import AsgiClient

async def agent(request, context):
    return request.input

async def main():
    metrics = RunMetrics()
    async with AuditLog(sys.argv[1]) as audit:
        async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
            client = AsgiClient(create_app(supervisor, metrics=metrics, audit=audit))
            await client("POST", "/v1/sessions", {"id": "a"})
            told = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
            run = "/v1/sessions/a/runs?wait_seconds=60"
            print((await client("POST", run, {"input": "x"}, headers=told)).status)
            print((await client("GET", "/metrics")).code)
    print(metrics.requests.requests["submit_run", "200"])

trio.run(main)
"""


def test_without_the_extras_everything_else_works_and_nothing_is_imported(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path / "audit.jsonl")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.stdout.split() == ["200", "extra_missing", "1"], result.stderr
