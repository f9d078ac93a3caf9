"""A real ``moorage serve`` for a browser: to be killed, and started again where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.rules.source_tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

AGENT = "tests.browser.console_agent:agent"
PATIENCE_SECONDS = 60


class ConsoleServer:
    """A process, and requests to it beside those of the page."""

    def __init__(
        self, directory: Path, *options: str, token: str | None = None, agent: str = AGENT
    ) -> None:
        self._directory = directory
        self._agent = agent
        self._options = options
        self._token = token
        self._process: subprocess.Popen[str] | None = None
        self.address = "http://127.0.0.1:0"

    @property
    def console(self) -> str:
        return f"{self.address}/console/"

    def start(self) -> None:
        """Where it was before, if it was anywhere."""
        bind = self.address.removeprefix("http://")
        command = [
            sys.executable,
            "-m",
            "moorage.adapters.gateways",
            "serve",
            "--agent",
            self._agent,
        ]
        command += ["--data", str(self._directory / "data"), "--bind", bind, *self._options]
        with (self._directory / "stderr").open("a") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        assert self.address.startswith("http://"), self.told

    def kill(self) -> None:
        """With SIGKILL: nothing is said or tidied up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @property
    def told(self) -> str:
        """What it has written to standard error."""
        return (self._directory / "stderr").read_text()

    def end(self) -> None:
        """In order, with SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        self.kill()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What is answered to a request as JSON."""
        headers = {"content-type": "application/json"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.address + path, content, headers, method=method)
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def submit(self, session_id: str, text: str) -> str:
        """A run of a session, which is made if need be; its id."""
        self.call("POST", "/v1/sessions", {"id": session_id})
        run = self.call("POST", f"/v1/sessions/{session_id}/runs", {"input": text})
        run_id: str = run["run_id"]
        return run_id

    def events(self, session_id: str) -> list[dict[str, Any]]:
        """All of its log."""
        page = self.call("GET", f"/v1/sessions/{session_id}/events?limit=10000")
        events: list[dict[str, Any]] = page["events"]
        return events
