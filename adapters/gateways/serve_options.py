"""What ``moorage serve`` can be told on the command line; a file of settings says more."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from pathlib import Path
from typing import Annotated

import typer

from .agent_spec import FORMS

AgentSpec = Annotated[
    str | None,
    typer.Option("--agent", "-a", metavar="SPEC", help=f"{FORMS} (or MOORAGE_AGENT says it)."),
]
Bind = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Where to listen; port 0 takes a free one.",
        show_default="127.0.0.1:8040",
    ),
]
TokensFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Who may ask, as `moorage tokens` keeps it; needed for others."
    ),
]
CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(metavar="ORIGIN", help="Let pages of this origin ask; may be repeated."),
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Another name in the Host header, or *.NAME; may be repeated."
    ),
]
DrainSeconds = Annotated[
    float | None,
    typer.Option(min=0, help="What running work gets when this ends.", show_default="10"),
]
NodeTags = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="What this node offers, where nodes share the store; may be repeated.",
    ),
]
Metrics = Annotated[
    bool, typer.Option("--metrics", help="Count, and show it to Prometheus at /metrics.")
]
Otel = Annotated[
    bool, typer.Option("--otel", help="Send traces and metrics where OTEL_... variables say.")
]
AuditFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Record who changes what in this file, or refuse it."),
]
Console = Annotated[
    bool, typer.Option("--console/--no-console", help="Serve the web page at /console/, too.")
]
WebhooksFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Post events to where is registered here."),
]
WebhookNetworks = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NETWORK",
        help="Webhooks may go there too, like 10.1.0.0/16; may be repeated.",
    ),
]
