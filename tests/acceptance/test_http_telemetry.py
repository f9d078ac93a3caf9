"""`moorage serve` as a process: scraped, traced over SIGKILL, and its audit log after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from moorage.adapters.gateways.http import TokenFile
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 120
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


class Server:
    """A running `moorage serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(
            method, self.url + path, json=body, headers=named, timeout=PATIENCE_SECONDS
        )

    def end(self) -> str:
        """Ask it to end; what else it wrote to standard output."""
        self.process.send_signal(signal.SIGTERM)
        written, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0
        return written


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "moorage.adapters.gateways", "serve", "--agent", "echo"]
    command += ["--data", "data", "--bind", "127.0.0.1:0", *options]
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **exporters, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), "it did not start"
            yield Server(process, url)
        finally:
            process.kill()


def spans(written: str) -> list[dict[str, Any]]:
    """What the console exporter wrote: JSON objects, one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while written := written.lstrip():
        span, end = decoder.raw_decode(written)
        found.append(span)
        written = written[end:]
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_server_is_scraped_with_a_token_that_can_do_nothing_else(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    worker, watcher = (
        f"Bearer {file.issue(name, scopes=scopes).token}"
        for name, scopes in (("worker", ["write"]), ("prometheus", ["metrics"]))
    )
    with serving(tmp_path, "--metrics", "--tokens", "tokens.json") as server:
        server.request("POST", "/v1/sessions", {"id": "a"}, authorization=worker)
        run = {"input": "x"}
        server.request("POST", "/v1/sessions/a/runs?wait_seconds=60", run, authorization=worker)
        refused = server.request("POST", "/v1/sessions", {"id": "b"}, authorization=watcher)
        head = server.request("HEAD", "/metrics", authorization=watcher)
        page = server.request("GET", "/metrics", authorization=watcher)

    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }
    assert (refused.status_code, head.status_code, head.content) == (403, 200, b"")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found["moorage_runs_total", "completed"] == 1
    assert found["moorage_http_requests_total", "open_session", "200"] == 1
    assert found["moorage_http_requests_total", "open_session", "403"] == 1
    assert found["moorage_http_requests_total", "get_metrics", "200"] == 1
    assert found["moorage_store_commits_total",] > 0


def test_a_run_is_in_its_callers_trace_after_the_server_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--otel") as server:
        server.request("POST", "/v1/sessions", {"id": "a"})
        server.request("POST", "/v1/sessions/a/pause")
        accepted = server.request(
            "POST", "/v1/sessions/a/runs", {"input": "x"}, traceparent=TRACEPARENT
        )
        server.process.kill()
    assert accepted.status_code == 202
    with serving(tmp_path, "--otel") as server:
        server.request("POST", "/v1/sessions/a/resume")
        run_id = accepted.json()["run_id"]
        ended = server.request("GET", f"/v1/sessions/a/runs/{run_id}?wait_seconds=60")
        assert ended.json()["state"] == "completed"
        made = spans(server.end())

    names = {span["name"] for span in made if span["context"]["trace_id"] == f"0x{TRACE_ID}"}
    (run,) = [span for span in made if span["name"] == "invoke_agent"]
    assert names == {"moorage.queue", "invoke_agent"}
    assert run["attributes"]["moorage.run.id"] == run_id
    assert run["resource"]["attributes"]["service.name"] == "moorage"
    assert "POST /v1/sessions/{session_id}/resume" in {span["name"] for span in made}


def test_changes_are_on_record_over_restarts_and_rotation(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    with serving(tmp_path, "--audit", "audit.jsonl") as server:
        server.request("POST", "/v1/sessions", {"id": "a"}, x_request_id="first")
        audit.rename(tmp_path / "audit-old.jsonl")
        server.request("POST", "/v1/sessions/a/pause", x_request_id="second")
        server.process.kill()
    with serving(tmp_path, "--audit", "audit.jsonl") as server:
        server.request("DELETE", "/v1/sessions/a", x_request_id="third")
        server.end()

    told = [
        (line["request_id"], line["action"], line["outcome"], line.get("status"))
        for line in lines(tmp_path / "audit-old.jsonl") + lines(audit)
    ]
    assert told == [
        ("first", "open_session", "begun", None),
        ("first", "open_session", "done", 200),
        ("second", "pause_session", "begun", None),
        ("second", "pause_session", "done", 200),
        ("third", "delete_session", "begun", None),
        ("third", "delete_session", "done", 200),
    ]
    assert audit.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="not here: there is no /dev/full")
def test_with_a_full_disk_for_its_log_a_server_reads_and_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, "--audit", "/dev/full") as server:
        opened = server.request("POST", "/v1/sessions", {"id": "a"})
        listed = server.request("GET", "/v1/sessions")
        server.end()

    assert (opened.status_code, opened.json()["code"]) == (503, "audit_failed")
    assert (listed.status_code, listed.json()["sessions"]) == (200, [])
