"""Serving the application over sockets, under trio, with hypercorn's HTTP."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app
from moorage.runtime import Supervisor

from .app import HttpGateway, create_app
from .connections import REFUSED_STATUS, BoundedStream, Connections
from .hosts import KnownHosts, check_exposure, is_loopback, parse_bind
from .observed_request import count_refused_connection
from .own_sockets import OwnSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from hypercorn.events import Event
    from moorage.adapters.gateways.webhooks import WebhookDispatcher
    from moorage.adapters.sinks.telemetry import AuditLog, RequestTracing, RunMetrics
    from moorage.runtime import DrainReport

    from .authorisation import Authenticator
    from .gateway_state import GatewayState
    from .limits import HttpLimits

logger = structlog.get_logger("moorage")

DEFAULT_BIND = "127.0.0.1:8040"
BACKLOG = 1_024
LINGER_SECONDS = 2.0
"""How long answers and the ends of streams may take to arrive once everything has ended."""
SPARE_FILES = 256
"""Descriptors that are left for what is no connection."""


async def serve(
    target: Supervisor | HttpGateway,
    bind: str = DEFAULT_BIND,
    *,
    auth: Authenticator | None = None,
    limits: HttpLimits | None = None,
    cors: Collection[str] | None = None,
    allowed_hosts: Collection[str] = (),
    metrics: RunMetrics | None = None,
    audit: AuditLog | None = None,
    tracing: RequestTracing | None = None,
    console: bool = True,
    webhooks: WebhookDispatcher | None = None,
    drain_seconds: float | None = None,
    shutdown: Callable[[], Awaitable[object]] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a supervisor, or what ``create_app`` made, until ``shutdown`` returns or for ever.

    Then nothing new is taken, running work gets ``drain_seconds`` (without: what the supervisor's
    limits say), streams end with an event that says so, what became of the work is logged, and this
    returns. Cancelled, it just stops.

    ``webhooks`` are delivered meanwhile; what is being posted at the end gets a moment.

    ``task_status`` is told the address, like ``http://127.0.0.1:8040``; port 0 takes a free one.
    Bound to this machine alone, requests must name it in their Host header, or one of
    ``allowed_hosts``, of which ``*.example.test`` are all names below that. Raises InvalidArgument
    for another address without ``auth``, and OSError if it cannot be bound.
    """
    gateway = (
        create_app(
            target,
            auth=auth,
            limits=limits,
            cors=cors,
            metrics=metrics,
            audit=audit,
            tracing=tracing,
            console=console,
            webhooks=webhooks,
        )
        if isinstance(target, Supervisor)
        else target
    )
    host, port = parse_bind(bind)
    check_exposure(host, has_auth=gateway.has_auth)
    _raise_file_limit(gateway.limits)
    listeners = await _listeners(host, port, bind)
    own = [OwnSocket(listener.socket) for listener in listeners]
    address = _address(listeners[0])
    app = KnownHosts(gateway, allowed_hosts, gateway.refuse) if is_loopback(host) else gateway
    server = _Server(app, gateway.state)
    dispatcher = gateway.state.webhooks
    async with trio.open_nursery() as handlers:
        if dispatcher is not None:
            handlers.start_soon(dispatcher.run)
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, server.handle, listeners, handler_nursery=handlers)
            )
            logger.info("http_serving", address=address)
            task_status.started(address)
            await (shutdown or trio.sleep_forever)()
            _tell(await gateway.drain(timeout_seconds=drain_seconds))
            if dispatcher is not None:
                dispatcher.end()
            accepting.cancel_scope.cancel()
        await server.end(handlers.cancel_scope)
    del own


def _tell(report: DrainReport) -> None:
    """Log what became of the work. Ids only of what somebody may have to look after: a queue can be
    long, and goes on by itself."""
    cut = bool(report.interrupted or report.not_stopped)
    (logger.warning if cut else logger.info)(
        "http_drained",
        completed=len(report.completed),
        requeued=len(report.requeued),
        queued=len(report.queued),
        interrupted=report.interrupted,
        not_stopped=report.not_stopped,
    )


class _Server:
    """Hypercorn's HTTP on connections that we accept, bound and cut ourselves.

    Its own way of serving opens the sockets as well, which leaves no place for that.
    """

    def __init__(self, app: Any, state: GatewayState) -> None:
        self._app = wrap_app(app, 0, "asgi")
        self._config = _config(state.limits)
        self._context = WorkerContext(None)
        note_refused = partial(count_refused_connection, state.requests, REFUSED_STATUS)
        self._connections = Connections(state.limits, self._serve, note_refused)

    async def handle(self, stream: trio.SocketStream) -> None:
        await self._connections.handle(stream)

    async def _serve(self, stream: BoundedStream) -> None:
        state: Any = {}
        connection: Any = _Connection
        await connection(self._app, self._config, self._context, state, stream).run()

    async def end(self, scope: trio.CancelScope) -> None:
        """Let what is being answered be sent, then cut what is left."""
        await self._context.terminated.set()
        scope.deadline = trio.current_time() + LINGER_SECONDS


class _Connection(TCPServer):
    """Hypercorn's connection, which ends with its other end: by itself it is kept, as if something
    might still come, for as long as one that is idle. Clients that all were cut come back at once,
    and would be too many beside what they had left behind.
    """

    _is_over = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._is_over = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if not (self._is_over and isinstance(event, Updated)):
            await super().protocol_send(event)


def _config(limits: HttpLimits) -> Config:
    config = Config()
    config.h11_max_incomplete_size = limits.header_bytes_max
    config.h2_max_header_list_size = limits.header_bytes_max
    config.keep_alive_timeout = limits.idle_connection_seconds
    config.keep_alive_max_requests = 1_000_000
    config.include_server_header = False
    config.errorlog = logging.getLogger("moorage.http")
    return config


def _address(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _listeners(host: str, port: int, bind: str) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:  # which does not say where
        raise OSError(error.errno, error.strerror or str(error), bind) from error


def _raise_file_limit(limits: HttpLimits) -> None:
    """Let this process have as many files open as there may be connections, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections_max + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted < wanted:
        logger.warning("few_files", limit=granted, wanted=wanted, remedy="ulimit -Hn")
