"""``moorage webhooks``: where events are posted, kept in a file of this user alone."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from moorage.adapters.sinks.text import timestamp
from moorage.runtime import InvalidArgument, MoorageError

from .frame import CommandFailed, note, perform, write
from .options import AsJson, configured, configured_file, parsed_tags, values_of_options
from .tables import show_json, show_table

if TYPE_CHECKING:
    from .webhooks import Webhook

DEFAULT_FILE = Path("moorage-webhooks.json")
ALL_NETWORKS = ("0.0.0.0/0", "::/0")

app = typer.Typer(
    no_args_is_help=True,
    help="Register, list and remove webhooks for `moorage serve --webhooks FILE`.",
)

WebhooksFile = Annotated[
    Path | None,
    typer.Option(
        "--webhooks",
        metavar="FILE",
        help="Where they are; without, where gateway.webhooks of the settings says.",
        show_default=str(DEFAULT_FILE),
    ),
]
WebhookId = Annotated[str, typer.Argument(metavar="ID", help="As the list has it.")]


@app.command()
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="https, at a public address.")],
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Events of this session only.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Sessions whose ids begin with this.")] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Sessions with this tag; may be repeated."),
    ] = None,
    type: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", help="Events of this type only; may be repeated."),
    ] = None,
    beginning: Annotated[
        bool, typer.Option("--beginning", help="All events that there are; else from now on.")
    ] = False,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="As given to serve with --webhook-network; without, what "
            "gateway.webhook_networks of the settings says.",
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    as_json: AsJson = False,
    webhooks: WebhooksFile = None,
) -> None:
    """Register a webhook and show its secret, this once."""

    path = configured_file(context, "webhooks", webhooks, DEFAULT_FILE)
    networks = network or configured(context, "webhook_networks") or ()

    async def body() -> None:
        file = _file(path)
        now_ns = time.time_ns()
        fields = {
            "session_id": session,
            "prefix": prefix,
            "tags": parsed_tags(tag or [], "--tag"),
            "types": tuple(type) if type else None,
            "since_ns": 0 if beginning else now_ns,
            "description": description,
        }
        with values_of_options(_sinks().AddressRefused):
            # before the file: what is wrong with that is no matter of usage
            _check_url(url, networks)
            _check(url, created_at_ns=now_ns, **fields)
        webhook, secret = file.add(url, created_at_ns=now_ns, **fields)
        if as_json:
            show_json({"secret": secret, **_told(webhook)})
        else:
            write(f"{secret}\n")
            note(f"webhook {webhook.id} is in {path}; the secret is shown this once")

    perform(body)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False, webhooks: WebhooksFile = None) -> None:
    """Show the webhooks there are, without their secrets."""

    path = configured_file(context, "webhooks", webhooks, DEFAULT_FILE)

    async def body() -> None:
        file = _file(path)
        found = file.webhooks()
        letters = {it.id: len(file.dead_letters(it.id).letters()) for it in found}
        if as_json:
            show_json([{**_told(it), "dead_letters": letters[it.id]} for it in found])
            return
        if not found:
            note(f"no webhooks in {path}")
            return
        show_table(
            ["ID", "URL", "SESSIONS", "TYPES", "STATE", "DEAD LETTERS", "CREATED"],
            [
                [
                    it.id,
                    it.url,
                    _sessions(it),
                    "all" if it.types is None else " ".join(it.types),
                    it.disabled_reason or "enabled",
                    str(letters[it.id]),
                    timestamp(it.created_at_ns),
                ]
                for it in found
            ],
            full=["ID"],
        )

    perform(body)


@app.command()
def enable(context: typer.Context, id: WebhookId, webhooks: WebhooksFile = None) -> None:
    """Go on with a disabled one behind what was taken; servers notice within a second."""

    path = configured_file(context, "webhooks", webhooks, DEFAULT_FILE)

    async def body() -> None:
        changed = _file(path).change(id, lambda it: attrs.evolve(it, disabled_reason=None))
        if changed is None:
            raise _unknown(path, id)
        note(f"webhook {id} is enabled")

    perform(body)


@app.command()
def remove(context: typer.Context, id: WebhookId, webhooks: WebhooksFile = None) -> None:
    """Post nothing more, and forget it with its dead letters; servers notice within a second."""

    path = configured_file(context, "webhooks", webhooks, DEFAULT_FILE)

    async def body() -> None:
        if not _file(path).remove(id):
            raise _unknown(path, id)
        note(f"webhook {id} is removed")

    perform(body)


@app.command("dead-letters")
def dead_letters(
    context: typer.Context, id: WebhookId, as_json: AsJson = False, webhooks: WebhooksFile = None
) -> None:
    """Show messages that were given up. POST /v1/webhooks/ID/dead-letters/redeliver sends them."""

    path = configured_file(context, "webhooks", webhooks, DEFAULT_FILE)

    async def body() -> None:
        file = _file(path)
        if file.find(id) is None:
            raise _unknown(path, id)
        letters = file.dead_letters(id).letters()
        if as_json:
            show_json([attrs.asdict(letter) for letter in letters])
            return
        show_table(
            ["ID", "SESSION", "SEQ", "ATTEMPTS", "ERROR", "GIVEN UP"],
            [
                [
                    letter.id,
                    letter.session_id,
                    f"{letter.first_seq}-{letter.last_seq}",
                    str(letter.attempts),
                    letter.error,
                    timestamp(letter.time_ns),
                ]
                for letter in letters
            ],
            full=["ID"],
        )

    perform(body)


def _package(name: str) -> Any:
    """Raises CommandFailed that says what to install."""
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("moorage"):
            raise
        raise CommandFailed(f"webhooks need {error.name}: pip install 'moorage[http]'") from error


def _sinks() -> Any:
    return _package("moorage.adapters.sinks.webhook")


def _check_url(url: str, networks: Collection[str]) -> None:
    """Raises InvalidArgument with what would allow it, if that is a network, or AddressRefused."""
    sinks = _sinks()
    rules = sinks.AddressRules(networks)
    try:
        rules.check_url(url)
    except MoorageError as error:
        sinks.AddressRules(ALL_NETWORKS).check_url(url)
        raise InvalidArgument(
            f"{error}: allow one here with --network, and to serve with --webhook-network, or both "
            "in the settings, gateway.webhook_networks"
        ) from error


def _file(path: Path) -> Any:
    return _package("moorage.adapters.gateways.webhooks").WebhookFile(path)


def _check(url: str, **fields: Any) -> None:
    """Raises InvalidArgument for what no webhook can be."""
    registry = _package("moorage.adapters.gateways.webhooks.registry")
    registry.check_webhook(registry.Webhook(id="new", url=url, secrets=(), **fields))


def _unknown(path: Path, id: str) -> CommandFailed:
    return CommandFailed(f"{path} has no webhook {id!r}: see moorage webhooks list")


def _told(webhook: "Webhook") -> dict[str, Any]:
    told: dict[str, Any] = _package("moorage.adapters.gateways.webhooks.registry").webhook_to_json(
        webhook
    )
    return told


def _sessions(webhook: "Webhook") -> str:
    if webhook.session_id is not None:
        return webhook.session_id
    tags = [f"{name}={value}" for name, value in webhook.tags.items()]
    return " ".join([f"{max(webhook.prefix, webhook.tenant, key=len)}*", *tags])
