"""A server made of one file, as a process; and what docs/configuration.md says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from moorage.adapters.gateways.configuration import load_configuration
from moorage.adapters.gateways.http import TokenFile

pytest.importorskip("yaml")
pytest.importorskip("cryptography")
pytest.importorskip("opentelemetry")

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
PATIENCE_SECONDS = 120
MOORAGE = [sys.executable, "-m", "moorage.adapters.gateways"]

AGENTS = """\
import trio
from moorage.runtime import current_overrides

async def polite(request, context):
    await context.emit("message_streamed", {"delta": "Good day"})
    return {"said": "Good day", "overrides": dict(current_overrides())}
"""

EVERYTHING = """\
store:
  spec_file: where
  keys: moorage.keys
  options: {durability: buffered}
agents:
  default: of_configuration:polite
  program:
    agent: process:cat
    options: {content_bytes_max: 5}
limits:
  session_slots_default: 3
  drain_seconds: 30
retention:
  interval: 1h
  rules: [{states: [closed], closed_for: 30d}]
gateway:
  bind: 127.0.0.1:1
  tokens: tokens.json
  cors: ["https://chat.example.com"]
  allowed_hosts: [moorage.internal]
  limits: {body_bytes_max: 1KiB}
node_tags: {region: "${REGION}"}
telemetry: {metrics: true, audit: audit.jsonl}
logging: {level: info, format: json}
"""


def example(language: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(blocks[0])


def test_the_examples_of_the_page_are_right_and_say_the_same(tmp_path: Path) -> None:
    environ = {"DATABASE_PASSWORD": "hunter2"}
    made = []
    for name, language in (("moorage.yaml", "yaml"), ("moorage.toml", "toml")):
        (tmp_path / name).write_text(example(language))
        made.append(load_configuration(tmp_path / name, environ=environ).checked())

    assert made[0] == made[1]
    assert made[0].gateway.bind == "0.0.0.0:8040"
    assert made[0].limits.record_bytes_max == 4 * 1024 * 1024
    assert made[0].store.spec == "postgres://moorage:hunter2@db.internal/moorage"


def test_what_the_page_on_production_serves_is_right(tmp_path: Path) -> None:
    page = (PAGE.parent / "production.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n# \S+moorage\.yaml\n(.*?)```", page, re.DOTALL)
    variables = re.findall(r"\b(MOORAGE_\w+__\w+)(?:=|, value: \")([^\s\"]+)", page)
    for block in blocks:
        (tmp_path / "moorage.yaml").write_text(block)
        load_configuration(tmp_path / "moorage.yaml", environ=dict(variables)).checked()

    assert (len(blocks), len(variables)) == (1, 2)


class Server:
    """``moorage serve`` with a file of settings, and what is asked of it."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*MOORAGE, "serve", "--config", "etc/moorage.yaml"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(directory), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """(status, headers, document)"""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json", **headers},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
                return response.status, response.headers, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, error.headers, json.load(error)

    def stop(self) -> tuple[int, str]:
        """End it in order; its exit code and its standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, errors


def moorage(directory: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [*MOORAGE, *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert code == done.returncode, done.stderr
    return done.stdout


def test_a_server_is_made_of_one_file_and_the_environment(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "moorage.yaml").write_text(EVERYTHING)
    (etc / "where").write_text("sqlite:data.db\n")
    (tmp_path / "of_configuration.py").write_text(AGENTS)
    moorage(etc, "keys", "new", "moorage.keys")
    token = TokenFile(etc / "tokens.json").issue("me", scopes=("admin",)).token
    bearer = {"authorization": f"Bearer {token}"}
    environment = {"REGION": "eu", "MOORAGE_GATEWAY__BIND": "127.0.0.1:0"}

    moorage(tmp_path, "config", "check", "etc/moorage.yaml", **environment)
    server = Server(tmp_path, environment)
    try:
        assert server.url.startswith("http://127.0.0.1:"), "it did not start"
        refused, _, _ = server.ask("GET", "/v1/sessions")
        _, _, opened = server.ask("POST", "/v1/sessions", {"id": "a"}, **bearer)
        wait = {**bearer, "prefer": "wait=60", "origin": "https://chat.example.com"}
        _, headers, polite = server.ask("POST", "/v1/sessions/a/runs", {"input": "Hi"}, **wait)
        to_cat = {"input": "0123456789", "agent": "program"}
        _, _, program = server.ask("POST", "/v1/sessions/a/runs", to_cat, **wait)
        large = {"input": "x" * 2_000}
        too_large, _, _ = server.ask("POST", "/v1/sessions/a/runs", large, **bearer)
        overridden = {"input": "Hi", "metadata": {"moorage_overrides": {"audience": "children"}}}
        _, _, meant = server.ask("POST", "/v1/sessions/a/runs", overridden, **wait)
    finally:
        code, errors = server.stop()

    assert (code, refused, too_large) == (0, 401, 413), errors
    assert opened["slots"] == 3
    assert polite["outcome"]["output"]["said"] == "Good day"
    assert headers["access-control-allow-origin"] == "https://chat.example.com"
    assert program["outcome"]["output"]["content"] == "01234"
    assert meant["outcome"]["output"]["overrides"] == {"audience": "children"}
    logged = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert {"http_serving"} <= {line["event"] for line in logged}
    assert (etc / "data.db").exists()

    listed = moorage(tmp_path, "--config", "etc/moorage.yaml", "sessions", "--json", REGION="eu")
    assert [session["id"] for session in json.loads(listed)] == ["a"]


def test_what_is_wrong_ends_it_before_anything_is_opened(tmp_path: Path) -> None:
    (tmp_path / "moorage.yaml").write_text(
        "store: {spec: data}\nagents: echo\ngateway:\n  limits:\n    streams_max: many\n"
    )
    environment = {**os.environ, "MOORAGE_LIMITS__IDLE_SECONDS": "soon"}
    done = subprocess.run(
        [*MOORAGE, "serve", "--config", "moorage.yaml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(done.stderr.splitlines()) == [
        "moorage: MOORAGE_LIMITS__IDLE_SECONDS: limits.idle_seconds: expected seconds, at least 0, "
        "or a text such as 90s, 5m, 12h, not 'soon'",
        "moorage: moorage.yaml:5: gateway.limits.streams_max: expected a whole number of at least "
        "1, not 'many'",
    ]
    assert not (tmp_path / "data").exists()
