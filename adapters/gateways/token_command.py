"""``moorage tokens``: who may ask a server, kept as hashes in a file of this user alone."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from moorage.adapters.sinks.text import timestamp

from .frame import CommandFailed, note, perform, write
from .options import AsJson, configured_file, values_of_options
from .serve_command import http_package
from .tables import show_json, show_table

if TYPE_CHECKING:
    from .http import StoredToken

DAY_SECONDS = 86_400.0
DEFAULT_FILE = Path("moorage-tokens.json")
DEFAULT_SCOPES = ("read", "write", "approve")

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens for `moorage serve`.")

TokensFile = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="FILE",
        help="Where the hashes are; without, where gateway.tokens of the settings says.",
        show_default=str(DEFAULT_FILE),
    ),
]


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; approvals record it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="read, write, approve, metrics or admin (all of them); may be repeated.",
            show_default=" ".join(DEFAULT_SCOPES),
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="A tenant: only sessions whose ids begin with this, like acme-.")
    ] = "",
    days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="How long it is valid; without, for ever.")
    ] = None,
    as_json: AsJson = False,
    tokens: TokensFile = None,
) -> None:
    """Make a token and show it, this once: the file has its hash only."""

    path = configured_file(context, "tokens", tokens, DEFAULT_FILE)

    async def body() -> None:
        seconds = None if days is None else days * DAY_SECONDS
        scopes = tuple(scope or DEFAULT_SCOPES)
        with values_of_options():
            # before the file: what is wrong with that is no matter of usage
            http_package().tokens.check_token(name, scopes=scopes, prefix=prefix, seconds=seconds)
        issued = _file(path).issue(name, scopes=scopes, prefix=prefix, seconds=seconds)
        if as_json:
            show_json({"token": issued.token, **_told(issued.stored)})
        else:
            write(f"{issued.token}\n")
            note(f"token {issued.stored.id} is in {path}; this is the only time it is shown")

    perform(body)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False, tokens: TokensFile = None) -> None:
    """Show the tokens there are, without what they are."""

    path = configured_file(context, "tokens", tokens, DEFAULT_FILE)

    async def body() -> None:
        found = _file(path).tokens()
        if as_json:
            show_json([_told(token) for token in found])
            return
        now_ns = time.time_ns()
        show_table(
            ["ID", "NAME", "SCOPES", "PREFIX", "CREATED", "EXPIRES"],
            [
                [
                    token.id,
                    token.name,
                    " ".join(token.scopes),
                    token.prefix,
                    timestamp(token.created_at_ns),
                    _expiry(token, now_ns),
                ]
                for token in found
            ],
            full=["ID"],
        )

    perform(body)


@app.command()
def revoke(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="As the list has it.")],
    tokens: TokensFile = None,
) -> None:
    """Take a token away; servers notice within a second."""

    path = configured_file(context, "tokens", tokens, DEFAULT_FILE)

    async def body() -> None:
        if not _file(path).revoke(id):
            raise CommandFailed(f"{path} has no token {id!r}: see moorage tokens list")
        note(f"token {id} is revoked")

    perform(body)


def _file(path: Path) -> Any:
    return http_package().TokenFile(path)


def _told(token: "StoredToken") -> dict[str, Any]:
    told = attrs.asdict(token)
    del told["sha256"]
    return told


def _expiry(token: "StoredToken", now_ns: int) -> str:
    if token.expires_at_ns is None:
        return "never"
    return "expired" if token.expired(now_ns) else timestamp(token.expires_at_ns)
