"""``moorage serve``: a supervisor behind HTTP, until a signal ends it in order."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
import typer
from moorage.runtime import SupervisorLimits

from .frame import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandFailed,
    Terminated,
    configure_logging,
    note,
    perform,
    write,
)
from .options import (
    ConfigFile,
    DataDirectory,
    KeyFile,
    StoreSpec,
    configuration_file,
    parsed_tags,
    said_store,
)
from .serve_options import (
    AgentSpec,
    AllowedHosts,
    AuditFile,
    Bind,
    Console,
    CorsOrigins,
    DrainSeconds,
    Metrics,
    NodeTags,
    Otel,
    TokensFile,
    WebhookNetworks,
    WebhooksFile,
)
from .serve_telemetry import ServeTelemetry, open_observed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from moorage.adapters.sinks.webhook import PostLimits
    from moorage.runtime import RetentionPolicy, Supervisor
    from moorage.runtime.agents import Agents
    from moorage.runtime.ports import Store

    from .configuration import Loaded, Problem
    from .http import HttpLimits, TokenFile
    from .webhooks import WebhookDispatcher, WebhookFile


@attrs.frozen(kw_only=True)
class Service:
    """What is served, where, and to whom."""

    store: "Store"
    agent: "Agents"
    bind: str
    tokens: "TokenFile | None" = None
    cors: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    limits: SupervisorLimits = attrs.field(factory=SupervisorLimits)
    http_limits: "HttpLimits | None" = None
    retention: "RetentionPolicy | None" = None
    retention_interval_seconds: float = 3_600.0
    node_tags: dict[str, str] = attrs.field(factory=dict)
    telemetry: ServeTelemetry = attrs.field(factory=ServeTelemetry)
    console: bool = True
    webhooks: "WebhookFile | None" = None
    webhook_networks: tuple[str, ...] = ()
    webhook_post_limits: "PostLimits | None" = None


def serve(
    context: typer.Context,
    agent: AgentSpec = None,
    bind: Bind = None,
    tokens: TokensFile = None,
    cors: CorsOrigins = None,
    allowed_host: AllowedHosts = None,
    drain_seconds: DrainSeconds = None,
    node_tag: NodeTags = None,
    metrics: Metrics = False,
    otel: Otel = False,
    audit: AuditFile = None,
    config: ConfigFile = None,
    console: Console = True,
    webhooks: WebhooksFile = None,
    webhook_network: WebhookNetworks = None,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
) -> None:
    """Serve sessions over HTTP, with the OpenAPI document at /v1/openapi.json and a web console.

    All of it, and more, can be said in a file or in the environment, too: --config, and
    `moorage config`. Options beat the environment, which beats the file.

    The address is written to standard output. SIGTERM or Ctrl-C ends it in order: nothing new is
    taken, running work gets its time, streams are told to come back, exit code 0. A second signal
    ends it at once.
    """
    options = {
        "agents": ("--agent", agent),
        "gateway.bind": ("--bind", bind),
        "gateway.tokens": ("--tokens", None if tokens is None else str(tokens)),
        "gateway.cors": ("--cors", cors or None),
        "gateway.allowed_hosts": ("--allowed-host", allowed_host or None),
        "limits.drain_seconds": ("--drain-seconds", drain_seconds),
        "gateway.webhooks": ("--webhooks", None if webhooks is None else str(webhooks)),
        "gateway.webhook_networks": ("--webhook-network", webhook_network or None),
        "gateway.console": ("--console", None if console else False),
        "telemetry.metrics": ("--metrics", metrics or None),
        "telemetry.otel": ("--otel", otel or None),
        "telemetry.audit": ("--audit", None if audit is None else str(audit)),
        "node_tags": ("--node-tag", parsed_tags(node_tag or [], "--node-tag") or None),
        **said_store(context, data, store, keys),
    }
    file = configuration_file(context, config)
    said = {path: given for path, given in options.items() if given[1] is not None}
    perform(partial(_serve, file, said))


async def _serve(file: Path | None, options: dict[str, tuple[str, Any]]) -> int | None:
    loaded = configuration_package().load_configuration(file, options=options)
    try:
        service = made_service(loaded)
    except configuration_package().ConfigurationInvalid as invalid:
        return tell_problems(invalid.problems)
    logging = loaded.configuration.logging
    configure_logging(logging.level, logging.format)
    if service.webhooks is not None and not await trio.Path(service.webhooks.path).exists():
        note(f"{service.webhooks.path} is not there yet: webhooks that are registered make it")
    await run_service(service)
    return None


def configuration_package() -> Any:
    """``moorage.adapters.gateways.configuration``, which checks the gateway's settings too.

    Raises CommandFailed that says what to install.
    """
    http_package()
    from . import configuration

    return configuration


def tell_problems(problems: "Collection[Problem]") -> int:
    """One line each; the exit code: that of usage, unless all of it is the world's fault."""
    for problem in problems:
        note(str(problem))
    return EXIT_USAGE if any(problem.is_usage for problem in problems) else EXIT_FAILED


def made_service(loaded: "Loaded") -> Service:
    """What the configuration describes; nothing is opened yet, but files of tokens and keys are
    read and agents' modules are imported. Raises ConfigurationInvalid."""
    building = configuration_package().Building(loaded)
    configuration = building.configuration
    made = {
        "store": building.store(),
        "agent": building.agents(),
        "retention": building.retention(),
        "tokens": building.tokens(),
        "bind": building.bind(),
        "telemetry": building.telemetry(),
        "webhooks": building.webhooks(),
    }
    building.checked()
    return Service(
        **made,
        cors=configuration.gateway.cors,
        allowed_hosts=configuration.gateway.allowed_hosts,
        limits=configuration.limits,
        http_limits=configuration.gateway.limits,
        console=configuration.gateway.console,
        webhook_networks=configuration.gateway.webhook_networks,
        webhook_post_limits=configuration.gateway.webhook_post_limits,
        retention_interval_seconds=configuration.retention.interval,
        node_tags=dict(configuration.node_tags),
    )


def http_package() -> Any:
    """``moorage.adapters.gateways.http``. Raises CommandFailed that says what to install."""
    try:
        from . import http
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("moorage"):
            raise
        raise CommandFailed(f"HTTP needs {error.name}: pip install 'moorage[http]'") from error
    return http


async def run_service(service: Service) -> None:
    """Serve until a signal comes, then end in order; a second one raises Terminated."""
    http = http_package()
    ending = trio.Event()
    # before anything is opened: a signal that comes meanwhile must not hit it
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heed, signals, ending)
            async with open_observed(
                service.telemetry,
                service.store,
                service.agent,
                limits=service.limits,
                node_tags=service.node_tags or None,
                retention=service.retention,
                retention_interval_seconds=service.retention_interval_seconds,
            ) as (supervisor, observed):
                serve_here = partial(
                    http.serve,
                    supervisor,
                    service.bind,
                    auth=service.tokens,
                    cors=service.cors,
                    allowed_hosts=service.allowed_hosts,
                    limits=service.http_limits,
                    console=service.console,
                    webhooks=_dispatcher(service, supervisor),
                    drain_seconds=service.limits.drain_seconds,
                    shutdown=ending.wait,
                    **observed,
                )
                async with trio.open_nursery() as serving:
                    address = await serving.start(serve_here)
                    write(f"{address}\n")
                    if service.console:
                        note(f"console: {address}/console/")
                    note("Ctrl-C ends this in order" + _warning(service))
            nursery.cancel_scope.cancel()


def _dispatcher(service: Service, supervisor: "Supervisor") -> "WebhookDispatcher | None":
    if service.webhooks is None:
        return None
    from .webhooks import WebhookDispatcher

    return WebhookDispatcher(
        supervisor,
        service.webhooks,
        allowed_networks=service.webhook_networks,
        post_limits=service.webhook_post_limits,
    )


def _warning(service: Service) -> str:
    if service.tokens is not None:
        return ""
    return "; without --tokens anybody on this machine may do anything"


async def _heed(signals: "AsyncIterator[int]", ending: trio.Event) -> None:
    async for _ in signals:
        if ending.is_set():
            raise Terminated
        ending.set()
