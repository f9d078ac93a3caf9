"""`moorage serve` as a process, for commands that are given its address."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moorage.adapters.gateways.http import TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Served:
    """A server's address, and the token it wants."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token


@contextmanager
def served(directory: Path, agent: str = "echo") -> Iterator[Served]:
    """Serve the journal ``served`` with an agent, and one token that may do everything."""
    token = TokenFile(directory / "tokens.json").issue("me", scopes=("admin",)).token
    command = [sys.executable, "-m", "moorage.adapters.gateways", "serve", "--agent", agent]
    command += ["--data", "served", "--bind", "127.0.0.1:0", "--tokens", "tokens.json"]
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), "it did not start"
            yield Served(url, token)
        finally:
            process.kill()
