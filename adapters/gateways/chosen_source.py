"""Where a command works: on a store, or on a server with ``--url``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from . import data_directory
from .chosen_store import StoreChoice
from .options import STORE_VARIABLE, Before, chosen_store, is_set
from .remote import VARIABLE, Server, server_of

if TYPE_CHECKING:
    from pathlib import Path

Choice = StoreChoice | Server
NO_RECOVERY = "a server recovers its own runs: this is for a store"


def chosen_source(
    context: typer.Context,
    data: Path | None,
    store: str | None,
    keys: Path | None,
    url: str | None,
    token_file: Path | None,
) -> Choice:
    """The server that ``--url`` names, else the store that is named, else the server of the
    environment, else its store. Raises BadParameter where a server and a store are both said."""
    if not url:
        if token_file is not None:
            raise typer.BadParameter(
                f"this is for a server: name it with --url, or {VARIABLE}",
                param_hint="--token-file",
            )
        return chosen_store(context, data, store, keys)
    before = context.obj if isinstance(context.obj, Before) else Before()
    said = {
        "--data": data or before.data,
        "--store": store or before.spec,
        "--keys": keys or before.keys,
        "--config": before.config,
    }
    named = [option for option, value in said.items() if value is not None]
    if not is_set(context, "url"):
        if named:
            raise typer.BadParameter(
                f"say either this or {' and '.join(named)}: what a server keeps its sessions in "
                "is its own",
                param_hint="--url",
            )
        return server_of(url, token_file)
    if named:
        return chosen_store(context, data, store, keys)
    if before.data_in_environment is not None or before.spec_in_environment is not None:
        other = STORE_VARIABLE if before.data_in_environment is None else data_directory.VARIABLE
        raise typer.BadParameter(
            f"{VARIABLE} and {other} are both set: unset one, or say --url, --data or --store",
            param_hint="--url",
        )
    return server_of(url, token_file)
