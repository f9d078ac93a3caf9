"""Everything that ``moorage serve`` can be told, once: checks, environment, ``moorage config`` and
the table in docs/configuration.md follow from it.

A setting is one field here, and what is done with it in ``building``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from moorage.adapters.sinks.webhook.limits import PostLimits
from moorage.runtime import SupervisorLimits

from ..http.limits import HttpLimits
from ..webhooks.limits import WebhookLimits
from .kinds import FLAG, MAP, PATH, PLAINS, STORE, TEXT, TEXT_MAP, TEXTS, choice, seconds
from .settings import named, section, setting

DEFAULT_BIND = "127.0.0.1:8040"


@attrs.frozen(kw_only=True)
class StoreSection:
    """Where sessions are."""

    spec: str | None = setting(
        STORE,
        None,
        "The store; without one, a journal in the platform's directory for data.",
        secret=True,
        option="--store",
    )
    keys: Path | None = setting(
        PATH, None, "The file of keys of an encrypted store.", option="--keys"
    )
    options: Mapping[str, Any] = setting(
        MAP, {}, "Options of the store, such as durability, schema or lease_seconds."
    )


@attrs.frozen(kw_only=True)
class AgentSection:
    """What executes runs; its name is that of its section."""

    agent: str = setting(
        TEXT, "", "Which agent, as --agent names it; a text in the section's place says the same."
    )
    options: Mapping[str, Any] = setting(
        MAP,
        {},
        "Arguments of that agent, such as model or working_directory; NAME_file reads one.",
    )


@attrs.frozen(kw_only=True)
class RetentionSection:
    """What goes by itself; in the words of docs/retention.md."""

    interval: float = setting(seconds(0.001), 3_600.0, "How often the rules are applied.")
    rules: list[Any] = setting(PLAINS, (), "The rules, in order.")
    exempt_tags: tuple[str, ...] = setting(TEXTS, (), "Sessions with one of these stay.")
    purge_after: float | None = setting(
        seconds(0), None, "What is softly deleted goes for good after so long."
    )
    on_expiry: str = setting(
        choice("delete", "soft_delete", "keep"), "delete", "What sessions' own expiry means."
    )


@attrs.frozen(kw_only=True)
class GatewaySection:
    """HTTP."""

    bind: str = setting(
        TEXT, DEFAULT_BIND, "Where to listen, HOST:PORT; port 0 takes a free one.", option="--bind"
    )
    tokens: Path | None = setting(
        PATH, None, "Who may ask, as moorage tokens keeps it.", option="--tokens"
    )
    cors: tuple[str, ...] = setting(TEXTS, (), "Origins whose pages may ask.", option="--cors")
    allowed_hosts: tuple[str, ...] = setting(
        TEXTS, (), "Other names in the Host header.", option="--allowed-host"
    )
    webhooks: Path | None = setting(
        PATH, None, "Post events to where is registered in this file.", option="--webhooks"
    )
    webhook_networks: tuple[str, ...] = setting(
        TEXTS, (), "Networks that webhooks may go to, too.", option="--webhook-network"
    )
    console: bool = setting(FLAG, True, "Serve the web page at /console/.", option="--console")
    limits: HttpLimits = section(HttpLimits)
    webhook_limits: WebhookLimits = section(WebhookLimits)
    webhook_post_limits: PostLimits = section(PostLimits)


@attrs.frozen(kw_only=True)
class TelemetrySection:
    """What is told to the outside; see docs/telemetry.md."""

    metrics: bool = setting(
        FLAG, False, "Count, and show it to Prometheus at /metrics.", option="--metrics"
    )
    otel: bool = setting(
        FLAG, False, "Send traces and metrics where OTEL_... variables say.", option="--otel"
    )
    otel_content: bool = setting(
        FLAG, False, "Put what people, models and tools wrote on spans of runs."
    )
    audit: Path | None = setting(
        PATH, None, "Record who changes what in this file, or refuse it.", option="--audit"
    )


@attrs.frozen(kw_only=True)
class LoggingSection:
    """What is written to standard error."""

    level: str = setting(
        choice("debug", "info", "warning", "error"), "warning", "What is worth a line."
    )
    format: str = setting(choice("lines", "json"), "lines", "For people, or for programs.")


@attrs.frozen(kw_only=True)
class Configuration:
    """What a server is made of."""

    store: StoreSection = section(StoreSection)
    agents: Mapping[str, AgentSection] = named(
        AgentSection, short="agent", doc="The agents by name; `default` has runs without one."
    )
    limits: SupervisorLimits = section(SupervisorLimits)
    retention: RetentionSection = section(RetentionSection)
    gateway: GatewaySection = section(GatewaySection)
    node_tags: Mapping[str, str] = setting(
        TEXT_MAP, {}, "What this node offers where nodes share the store.", option="--node-tag"
    )
    telemetry: TelemetrySection = section(TelemetrySection)
    logging: LoggingSection = section(LoggingSection)
