"""Services that host a supervisor, as real processes: submit, follow, cancel, drain on SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from moorage.adapters.gateways import sync_host
from moorage.runtime import RunState
from moorage.stores import JournalStore

from tests.ports import reserved_port

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS_MAX = 180
SLOWLY = "slowly and one word after the other"
FOR_LONG = "slowly " * 1_000
"""Minutes longer than any test."""


@contextmanager
def running(*arguments, **options):
    """A Python as a process, which is killed when it takes too long, and behind the block."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        too_long = threading.Timer(SECONDS_MAX, process.kill)
        too_long.start()
        try:
            yield process
        finally:
            too_long.cancel()
            process.kill()


def example_of(name):
    return str(EXAMPLES / f"{name}.py")


@contextmanager
def serving(*arguments, **options):
    """A service as a process, and a client of it."""
    connecting = httpx.HTTPTransport(retries=9)  # with pauses that double, until it listens
    with (
        reserved_port() as port,
        running(*arguments, "--port", str(port), **options) as process,
        httpx.Client(
            transport=connecting, base_url=f"http://127.0.0.1:{port}", timeout=SECONDS_MAX
        ) as client,
    ):
        yield process, client


def submit(client, text, key):
    answer = client.post("/sessions/user-42/runs", params={"key": key}, json=text)
    assert answer.status_code == 201, answer.text
    return f"/sessions/user-42/runs/{answer.json()['run_id']}"


def follow(client, run, until=None):
    """The types of a run's events, to its end or until one of them."""
    types = []
    with client.stream("GET", f"{run}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("event: "):
                types.append(line.removeprefix("event: "))
                if types[-1] == until:
                    break
    return types


@pytest.mark.parametrize("example", ["fastapi_service", "django_service", "flask_service"])
def test_a_service_submits_follows_cancels_and_drains_on_sigterm(example, tmp_path):
    with serving(example_of(example), "--data", str(tmp_path)) as (process, client):
        run = submit(client, "ten words", "message-1")
        deltas = ["message_streamed"] * 2
        assert follow(client, run) == ["run_submitted", "run_started", *deltas, "run_completed"]
        answer = client.get(run, params={"wait_seconds": SECONDS_MAX})
        assert answer.json() == {"state": "completed", "output": {"content": "ten words"}}
        assert submit(client, "ten words", "message-1") == run

        cancelled = submit(client, FOR_LONG, "message-2")
        follow(client, cancelled, until="message_streamed")
        assert client.get(cancelled).status_code == 202
        assert client.delete(cancelled).json() == {"cancelled": True}
        answer = client.get(cancelled, params={"wait_seconds": SECONDS_MAX})
        assert answer.json()["state"] == "cancelled"
        assert client.get("/sessions/user-42/runs/run_nobody").status_code == 404

        drained = submit(client, SLOWLY, "message-3")
        follow(client, drained, until="message_streamed")
        process.send_signal(signal.SIGTERM)
        code = process.wait(SECONDS_MAX)

    assert code in (0, -signal.SIGTERM)  # uvicorn ends by the signal, once all is done
    with sync_host.open_reader(JournalStore(tmp_path)) as reader:
        outcome = reader.session("user-42").wait(drained.rpartition("/")[2])
    assert outcome.state is RunState.COMPLETED


def test_gunicorn_refuses_several_workers_over_a_store_that_one_process_has(tmp_path):
    command = [sys.executable, str(EXAMPLES / "flask_service.py"), "--workers", "2"]
    with reserved_port() as port:
        arguments = ["--data", str(tmp_path), "--port", str(port)]
        ended = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )

    assert ended.returncode == 1
    assert "workers is 2, and a JournalStore belongs to one process at a time" in ended.stderr
    assert "set workers = 1 and threads" in ended.stderr


def test_a_second_service_over_the_store_of_another_says_who_has_it_until_that_has_left(tmp_path):
    with (
        serving(example_of("flask_service"), "--data", str(tmp_path)) as (process, client),
        serving(example_of("flask_service"), "--data", str(tmp_path)) as (_, second),
    ):
        submit(client, "ten words", "message-1")

        refused = second.post("/sessions/user-42/runs", params={"key": "message-2"}, json="more")

        assert (refused.status_code, refused.json()["code"]) == (503, "session_held")
        assert "is held by pid " in refused.json()["message"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0
        submit(second, "more", "message-2")


def test_workers_of_gunicorn_share_a_postgres(postgres):
    arguments = ["--dsn", postgres.server.dsn, "--schema", postgres.name, "--workers", "2"]
    with serving(example_of("flask_service"), *arguments) as (process, client):
        # a connection of its own for each request, so that either worker may take it
        client.headers["connection"] = "close"
        runs = [submit(client, f"number {number}", f"key-{number}") for number in range(10)]
        for number, run in enumerate(runs):
            answer = client.get(run, params={"wait_seconds": SECONDS_MAX})
            assert answer.json()["output"] == {"content": f"number {number}"}

        drained = submit(client, SLOWLY, "message-3")
        assert follow(client, drained, until="message_streamed")[-1] == "message_streamed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0

    with sync_host.open_reader(postgres.store()) as reader:
        outcome = reader.session("user-42").wait(drained.rpartition("/")[2])
    assert outcome.state is RunState.COMPLETED


RELOADED = """
import sys
sys.path.append({examples!r})
from fastapi_service import service

app = service({data!r})

@app.get("/version")
async def version() -> int:
    return {version}
"""


def version_of(client):
    """None while a server ends and the next one begins."""
    try:
        return client.get("/version").json()
    except httpx.TransportError:
        return None


def test_uvicorn_reloads_a_service_and_its_sessions_go_on(tmp_path):
    code = tmp_path / "reloaded.py"

    def write(version):
        data = str(tmp_path / "data")
        code.write_text(RELOADED.format(examples=str(EXAMPLES), data=data, version=version))

    write(1)
    arguments = ["-m", "uvicorn", "reloaded:app", "--reload", "--log-level", "warning"]
    with serving(*arguments, cwd=tmp_path) as (process, client):
        client.headers["connection"] = "close"
        run = submit(client, "ten words", "message-1")
        assert client.get("/version").json() == 1

        write(2)
        later = code.stat().st_mtime
        until = time.monotonic() + SECONDS_MAX
        while (version := version_of(client)) != 2:
            assert process.poll() is None
            assert time.monotonic() < until
            if version == 1:  # its first look at the files may have come after that write
                later += 3_600
                os.utime(code, (later, later))
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)

        assert submit(client, "ten words", "message-1") == run
        answer = client.get(run, params={"wait_seconds": SECONDS_MAX})
        assert answer.json() == {"state": "completed", "output": {"content": "ten words"}}
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS_MAX)


def test_a_script_submits_follows_cancels_and_drains_on_sigterm(tmp_path):
    # so many that the last one's turn does not come before the signal, however late that is
    texts = ["cancel me", SLOWLY, *(f"{number} {SLOWLY}" for number in range(40))]
    awaited = {f"{SLOWLY}: slowly", "cancel me: cancelled"}
    lines = []
    with running(example_of("plain_script"), "--data", str(tmp_path), *texts) as process:
        for line in process.stdout:
            lines.append(line.removesuffix("\n"))
            if awaited and not (awaited := awaited - {lines[-1]}):
                process.send_signal(signal.SIGTERM)  # once: one more could hit a process that ends
        assert process.wait(SECONDS_MAX) == 0

    assert f"{SLOWLY}: completed" in lines
    assert f"{texts[-1]}: left for the next time" in lines

    @sync_host.sync_agent
    def finishing(request, context):
        return "the next time"

    with sync_host.open_supervisor(JournalStore(tmp_path), finishing) as supervisor:
        session = supervisor.session("worker")
        outcomes = {text: session.submit(text, key=text).wait() for text in texts}

    assert outcomes["cancel me"].state is RunState.CANCELLED
    assert outcomes[SLOWLY].unwrap() == {"content": SLOWLY}
    assert outcomes[texts[-1]].unwrap() == "the next time"
