"""What ``moorage copy`` takes."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .copying import copy_store
from .frame import perform
from .options import check_spec
from .signals import until_signalled
from .store_spec import FORMS


def copy(
    source: Annotated[str, typer.Option("--from", metavar="SPEC", help=f"What to read: {FORMS}.")],
    target: Annotated[str, typer.Option("--to", metavar="SPEC", help="Where to write, likewise.")],
    from_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The keys of an encrypted source.")
    ] = None,
    to_keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The keys of the target, which is encrypted then."),
    ] = None,
    session: Annotated[
        list[str] | None,
        typer.Option("--session", "-s", metavar="ID", help="Only this one; may be repeated."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only ids that begin with this.")] = "",
    verify: Annotated[bool, typer.Option(help="Read both again and compare every event.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Copy sessions into another store, of any kind: seqs, times, keys, snapshots, cursors.

    A copy that was cut off goes on where it was. What is in the target already is compared, and
    never overwritten. Exit code 1 if a session could not be copied.
    """
    check_spec(source, "--from")
    check_spec(target, "--to")
    work = partial(
        copy_store,
        source,
        target,
        source_keys=from_keys,
        target_keys=to_keys,
        session_ids=session or (),
        prefix=prefix,
        verify=verify,
        as_json=as_json,
    )
    perform(partial(until_signalled, work))
