"""Django views: submit, follow, cancel, drain on SIGTERM. One file instead of a project.

python examples/django_service.py --data moorage-data --port 8001    # extra: django

    curl -X POST 'localhost:8001/sessions/user-42/runs?key=message-1' -d '"ten words please"'
    curl -N localhost:8001/sessions/user-42/runs/RUN/events
    curl -X DELETE localhost:8001/sessions/user-42/runs/RUN
"""

from __future__ import annotations

import argparse
import json
import signal
import socketserver
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from moorage.adapters.gateways import sync_host
from moorage.runtime import MoorageError, RunRequest, SupervisorLimits, UnknownRun, UnknownSession
from moorage.stores import JournalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

options = argparse.Namespace(data="moorage-data", port=8001)


# ---- moorage.py of a project ----


@sync_host.sync_agent
def agent(request: RunRequest, context: sync_host.SyncRunContext) -> object:
    """Says its input word by word; "slowly" makes each word take a while."""
    words = str(request.input).split()
    for word in words:
        context.emit("message_streamed", {"delta": word + " "})
        context.sleep(0.2 if "slowly" in words else 0)
    return {"content": request.input}


moorage = sync_host.ProcessSupervisor(
    lambda: JournalStore(options.data), agent, limits=SupervisorLimits(drain_seconds=20)
)


# ---- views.py ----


class RefusalMiddleware:
    """Answers for what Moorage refuses."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.get_response(request)
        return response

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, MoorageError):
            return None
        unknown = isinstance(error, (UnknownRun, UnknownSession))
        status = 404 if unknown else 503 if error.retryable else 400
        return JsonResponse({"code": error.code, "message": error.message}, status=status)


def submit(request: HttpRequest, session_id: str) -> HttpResponse:
    session = moorage.get().session(session_id)
    run = session.submit(json.loads(request.body), key=request.GET["key"])
    return JsonResponse({"run_id": run.id}, status=201)


def one_run(request: HttpRequest, session_id: str, run_id: str) -> HttpResponse:
    session = moorage.get().handle(session_id)
    if request.method == "DELETE":
        reason = "asked for over HTTP"
        return JsonResponse({"cancelled": session.cancel(run_id, reason=reason)})
    try:
        seconds = float(request.GET.get("wait_seconds", "0"))
        outcome = session.wait(run_id, timeout_seconds=seconds)
    except TimeoutError:
        return JsonResponse({"detail": "it has not ended"}, status=202)
    return JsonResponse({"state": outcome.state, "output": outcome.output})


def follow(request: HttpRequest, session_id: str, run_id: str) -> StreamingHttpResponse:
    session = moorage.get().handle(session_id)
    session.run(run_id).status()  # an unknown one is told before the stream begins

    def stream() -> Iterator[str]:
        with session.subscribe(after=int(request.GET.get("after", "0")), run_id=run_id) as events:
            for event in events:
                yield f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(event.data)}\n\n"

    return StreamingHttpResponse(stream(), content_type="text/event-stream")


urlpatterns = [
    path("sessions/<session_id>/runs", submit),
    path("sessions/<session_id>/runs/<run_id>", one_run),
    path("sessions/<session_id>/runs/<run_id>/events", follow),
]


# ---- settings.py, wsgi.py and a server ----


class ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=options.data)
    parser.add_argument("--port", type=int, default=options.port)
    parser.parse_args(namespace=options)
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["localhost", "127.0.0.1"],
        MIDDLEWARE=[f"{__name__}.RefusalMiddleware"],
    )
    server = ThreadingServer(("127.0.0.1", options.port), QuietHandler)
    server.set_app(WSGIHandler())
    # shutdown() waits for serve_forever() to end, which the handler has interrupted
    stop = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: stop.start())
    server.serve_forever()
    moorage.close()  # drains; followers of what still runs end with it
    server.server_close()


if __name__ == "__main__":
    main()
