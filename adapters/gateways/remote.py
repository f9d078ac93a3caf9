"""The server that a command works on, and the token it is asked with."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import attrs
import typer

from .frame import CommandFailed, note
from .store_spec import without_password

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .http_client import Client

VARIABLE = "MOORAGE_URL"
TOKEN_VARIABLE = "MOORAGE_TOKEN"
TOKEN_BYTES_MAX = 4_096
PATIENCE_SECONDS = 5.0
"""For how long a command tries to reach a server that is not there."""


@attrs.frozen
class Server:
    """Where a server is, and the token it is asked with."""

    url: str
    token: str | None = attrs.field(repr=False)

    @property
    def shown(self) -> str:
        """Its address, without a password."""
        return without_password(self.url)

    told = shown

    @property
    def arguments(self) -> list[str]:
        """What to give a command so that it works on this server; its token is never shown."""
        return ["--url", self.shown]

    @asynccontextmanager
    async def connected(self, *, patient: bool = False) -> "AsyncIterator[Client]":
        """A client of it; a ``patient`` one waits as long for a server that is gone as one does
        who follows a session, once it was there. Raises CommandFailed if the extra is not there."""
        try:
            from .http_client import ClientLimits, connect
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("moorage"):
                raise
            raise CommandFailed(
                f"--url needs {error.name}: pip install 'moorage[client]'"
            ) from error
        limits = ClientLimits(first_seconds_max=PATIENCE_SECONDS)
        if not patient:
            limits = ClientLimits(unreachable_seconds_max=PATIENCE_SECONDS)
        async with connect(
            self.url, token=self.token, limits=limits, on_waiting=self._tell_of_waiting
        ) as client:
            yield client

    def _tell_of_waiting(self, seconds: float) -> None:
        note(f"waiting for {self.shown} for up to {seconds:g} s")


# ---- what is on the command line ----


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar=VARIABLE,
        help=f"A server's address (or {VARIABLE} is it). Its token is in {TOKEN_VARIABLE} or "
        "--token-file.",
        show_envvar=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help=f"Has the server's token (or {TOKEN_VARIABLE} is it).",
    ),
]


def server_of(url: str | None, token_file: Path | None) -> Server:
    """The server that is asked for. Raises BadParameter without one, and for a token that cannot
    be read."""
    if not url:
        raise typer.BadParameter(f"a server is needed (or {VARIABLE} names it)", param_hint="--url")
    if not _is_address(url):
        raise typer.BadParameter(
            f"{without_password(url)!r} is no address of a server: give http://HOST:PORT",
            param_hint="--url",
        )
    return Server(url, _token(token_file))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        with file.open("rb") as opened:
            content = opened.read(TOKEN_BYTES_MAX + 1)
        token = content.decode("ascii").strip()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--token-file") from error
    except UnicodeDecodeError:
        token = ""
    if not token or len(token.split()) != 1 or len(content) > TOKEN_BYTES_MAX:
        raise typer.BadParameter(
            f"{file} is no token: it should have one line, as `moorage tokens new` shows it",
            param_hint="--token-file",
        )
    return token
