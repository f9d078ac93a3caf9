"""A Flask service under gunicorn: submit, follow, cancel, drain on SIGTERM.

python examples/flask_service.py --data moorage-data --port 8002    # extra: flask, gunicorn

    curl -X POST 'localhost:8002/sessions/user-42/runs?key=message-1' -d '"ten words please"'
    curl -N localhost:8002/sessions/user-42/runs/RUN/events
    curl -X DELETE localhost:8002/sessions/user-42/runs/RUN

A journal belongs to one process: one worker with threads. With ``--dsn`` the workers share a
Postgres (``moorage migrate --store postgres:DSN`` first), and there may be several.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from moorage.adapters.gateways import sync_host
from moorage.runtime import MoorageError, RunRequest, SupervisorLimits, UnknownRun, UnknownSession
from moorage.stores import JournalStore, PostgresStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.runtime.ports import Store


# ---- moorage.py of a project ----


@sync_host.sync_agent
def agent(request: RunRequest, context: sync_host.SyncRunContext) -> object:
    """Says its input word by word; "slowly" makes each word take a while."""
    words = str(request.input).split()
    for word in words:
        context.emit("message_streamed", {"delta": word + " "})
        context.sleep(0.2 if "slowly" in words else 0)
    return {"content": request.input}


def make_store() -> Store:
    """Called in each worker, so that nothing crosses a fork."""
    dsn = os.environ.get("MOORAGE_DSN")
    if dsn:
        return PostgresStore(dsn, schema=os.environ["MOORAGE_SCHEMA"])
    return JournalStore(os.environ["MOORAGE_DATA"])


moorage = sync_host.ProcessSupervisor(make_store, agent, limits=SupervisorLimits(drain_seconds=20))


# ---- the application ----

app = Flask(__name__)


@app.errorhandler(MoorageError)
def refused(error: MoorageError) -> tuple[dict[str, Any], int]:
    unknown = isinstance(error, (UnknownRun, UnknownSession))
    status = 404 if unknown else 503 if error.retryable else 400
    return {"code": error.code, "message": error.message}, status


@app.post("/sessions/<session_id>/runs")
def submit(session_id: str) -> tuple[dict[str, Any], int]:
    session = moorage.get().session(session_id)
    run = session.submit(request.get_json(force=True), key=request.args["key"])
    return {"run_id": run.id}, 201


@app.get("/sessions/<session_id>/runs/<run_id>")
def wait(session_id: str, run_id: str) -> tuple[dict[str, Any], int]:
    try:
        seconds = request.args.get("wait_seconds", 0.0, type=float)
        outcome = moorage.get().handle(session_id).wait(run_id, timeout_seconds=seconds)
    except TimeoutError:
        return {"detail": "it has not ended"}, 202
    return {"state": outcome.state, "output": outcome.output}, 200


@app.get("/sessions/<session_id>/runs/<run_id>/events")
def follow(session_id: str, run_id: str) -> Response:
    session = moorage.get().handle(session_id)
    session.run(run_id).status()  # an unknown one is told before the stream begins
    after = request.args.get("after", 0, type=int)

    def stream() -> Iterator[str]:
        with session.subscribe(after=after, run_id=run_id) as events:
            for event in events:
                yield f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(event.data)}\n\n"

    return Response(stream(), mimetype="text/event-stream")


@app.delete("/sessions/<session_id>/runs/<run_id>")
def cancel(session_id: str, run_id: str) -> dict[str, bool]:
    reason = "asked for over HTTP"
    return {"cancelled": moorage.get().handle(session_id).cancel(run_id, reason=reason)}


# ---- gunicorn.conf.py: gunicorn -c python:flask_service flask_service:app ----

worker_class = "gthread"
threads = 32  # each follower has one as long as it follows
control_socket_disable = True  # newer versions have one, at the same path for all services
graceful_timeout = 30  # behind which workers are killed: longer than drain_seconds

hooks = sync_host.GunicornHooks(moorage)
on_starting = hooks.on_starting
post_worker_init = hooks.post_worker_init
worker_exit = hooks.worker_exit


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="moorage-data")
    parser.add_argument("--dsn", default="")
    parser.add_argument("--schema", default="moorage")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    os.environ["MOORAGE_DATA"] = os.path.abspath(options.data)
    os.environ["MOORAGE_DSN"], os.environ["MOORAGE_SCHEMA"] = options.dsn, options.schema
    os.chdir(Path(__file__).parent)  # where gunicorn looks for modules
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:flask_service"]
    bound = ["--bind", f"127.0.0.1:{options.port}", "--workers", str(options.workers)]
    os.execv(sys.executable, [*gunicorn, *bound, "flask_service:app"])


if __name__ == "__main__":
    main()
