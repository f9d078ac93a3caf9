"""``moorage keys``: the file of master keys that ``--keys`` names."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from moorage.runtime import InvalidArgument

from . import key_file
from .frame import CommandFailed, note, perform
from .key_file import KeyFile, read_key_file, write_key_file
from .options import AsJson
from .tables import show_json, show_table

keys = typer.Typer(
    name="keys",
    no_args_is_help=True,
    help="Make, list and rotate the master keys of encrypted stores.",
)

_File = Annotated[
    Path, typer.Argument(metavar="FILE", envvar=key_file.VARIABLE, help="The file of keys.")
]
_NewId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="The new key's id.", show_default="the date of today"),
]


@keys.command()
def new(
    file: _File,
    id: _NewId = None,
    vault: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where the sessions' own keys are to be, from the file's directory.",
            show_default="FILE.vault",
        ),
    ] = None,
) -> None:
    """Make a file with one new key, for its owner alone to read. It is never overwritten."""
    perform(partial(make_keys, file, _id(id), vault or f"{file.name}.vault"))


@keys.command("list")
def list_(file: _File, as_json: AsJson = False) -> None:
    """List the keys by id: which one is current, and how many sessions need each. Shows no key."""
    perform(partial(list_keys, file, as_json=as_json))


@keys.command()
def rotate(file: _File, id: _NewId = None) -> None:
    """Add a new key and make it current; processes take it when they are started again.

    Every session writes under a key of its own that is wrapped with the new one, from its next
    claim on. Older keys stay, to read what was written before.
    """
    perform(partial(rotate_keys, file, _id(id)))


def _id(given: str | None) -> str:
    return given or time.strftime("%Y-%m-%d")


async def make_keys(path: Path, id: str, vault: str) -> None:
    """Raises CommandFailed if the file is there, InvalidArgument, and OSError."""
    ring = key_file.key_ring().generate(id)
    write_key_file(KeyFile(path, ring, vault), replace=False)
    note(f"key {id!r} is in {str(path)!r}: what it encrypts is lost without it, so keep a copy")


async def list_keys(path: Path, *, as_json: bool) -> None:
    """Raises CommandFailed, and what the vault raises."""
    file = read_key_file(path)
    from moorage.stores.encryption import FileVault, sessions_by_master_key  # needs the extra

    counts = await sessions_by_master_key(FileVault(file.vault_path))
    listed = [
        {"id": id, "current": id == file.ring.current, "sessions": counts.pop(id, 0)}
        for id in file.ring.key_ids
    ]
    if as_json:
        show_json({"vault": str(file.vault_path), "keys": listed, "missing": counts})
    else:
        show_table(
            ["KEY", "CURRENT", "SESSIONS"],
            [
                [str(key["id"]), "current" if key["current"] else "", str(key["sessions"])]
                for key in listed
            ],
            numbers=["SESSIONS"],
            full=["KEY"],
        )
    if counts:
        ids = ", ".join(map(repr, sorted(counts)))
        raise CommandFailed(f"sessions need keys that are not in {str(path)!r}: {ids}")


async def rotate_keys(path: Path, id: str) -> None:
    """Raises CommandFailed, and OSError; the file is as before then."""
    file = read_key_file(path)
    try:
        ring = file.ring.rotated(id)
    except InvalidArgument as error:
        raise CommandFailed(f"{error}, with --id") from None
    write_key_file(KeyFile(path, ring, file.vault), replace=True)
    note(f"key {id!r} is current when processes are started again; older keys stay in the file")
