"""What ``moorage verify``, ``salvage`` and ``compact`` take."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .data_directory import existing
from .frame import perform
from .options import AsJson, DataDirectory, KeyFile, StoreSpec, chosen_directory, chosen_store
from .signals import until_signalled
from .upkeep import compact_store, salvage_journal, verify_store


def verify(
    context: typer.Context,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Check the artifacts in this directory, too."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for risks, too, not for damage alone.")
    ] = False,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
) -> None:
    """Read a whole store and check it, beside its owner; exit code 1 if it is damaged.

    Each finding has its place and its remedy. A risk is a setting of the server that breaks a
    promise, or something that is left over.
    """
    choice = chosen_store(context, data, store, keys)
    work = partial(verify_store, choice, artifacts=artifacts, strict=strict, as_json=as_json)
    perform(partial(until_signalled, work))


def salvage(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="NEWDIR", help="A new directory.")],
    as_json: AsJson = False,
    data: DataDirectory = None,
) -> None:
    """Copy what can be read of a damaged journal into a new one; the damaged one stays as it is."""
    directory = chosen_directory(context, data)

    async def body() -> None:
        await salvage_journal(existing(directory), to, as_json=as_json)

    perform(partial(until_signalled, body))


def compact(
    context: typer.Context,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
) -> None:
    """Free the space of what was deleted or trimmed, of a journal or a SQLite file."""
    choice = chosen_store(context, data, store)
    perform(partial(until_signalled, partial(compact_store, choice, as_json=as_json)))
