"""What ``moorage status``, ``events``, ``export`` and ``import`` take."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from moorage.adapters.sinks import Format

from .chosen_source import chosen_source
from .chosen_store import perform_on
from .exporting import ExportFormat, export_session
from .following import show_events
from .foreign_sessions import WHAT_IS_IMPORTED, ImportFormat, import_file
from .frame import perform, write
from .listing import show_status
from .options import AsJson, DataDirectory, KeyFile, SessionId, StoreSpec, chosen_store
from .remote import TokenFile, Url


def status(
    context: typer.Context,
    id: SessionId,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show one session: state, slots, and which runs are running, queued or waiting."""
    choice = chosen_source(context, data, store, keys, url, token_file)
    perform_on(choice, partial(show_status, session_id=id, choice=choice, as_json=as_json))


def events(
    context: typer.Context,
    id: SessionId,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQ", help="Begin behind this event.")
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=0, max=10_000, metavar="N", help="Begin N before the end.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the session closes.")
    ] = False,
    type: Annotated[
        list[str] | None, typer.Option(help="Only events of this type; may be repeated.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only this run; --follow ends with it.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to show them.")] = "compact",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write on to this file instead."),
    ] = None,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show a session's events, beside whoever is writing them.

    A file of --format jsonl or jsonl-compact gets what it does not have yet, and can be imported.
    """
    perform_on(
        chosen_source(context, data, store, keys, url, token_file),
        partial(
            show_events,
            session_id=id,
            after=after,
            last=last,
            follow=follow,
            types=set(type) if type else None,
            run_id=run,
            format="jsonl" if as_json else format,
            output=None if output == Path("-") else output,
        ),
        long=True,
    )


def export(
    context: typer.Context,
    id: SessionId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of the screen.")
    ] = None,
    format: Annotated[
        ExportFormat,
        typer.Option(help="All of it, or the messages alone: role and content, one a line."),
    ] = "moorage",
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Write a session as JSON lines, from which import makes it again."""
    target = None if output == Path("-") else output
    exporting = partial(export_session, session_id=id, output=target, format=format)
    perform_on(chosen_source(context, data, store, keys, url, token_file), exporting, long=True)


def import_(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help=f"{WHAT_IS_IMPORTED}; - reads standard input."),
    ],
    new_id: Annotated[
        str | None, typer.Option("--as", metavar="NEWID", help="Another id than that of the file.")
    ] = None,
    format: Annotated[
        ImportFormat | None,
        typer.Option(help="What the file is.", show_default="by its first lines"),
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out lines of others that are damaged.")
    ] = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
) -> None:
    """Make a session from an export or from another program's conversation; prints the id."""
    choice = chosen_store(context, data, store, keys)

    async def body() -> None:
        imported = await import_file(
            choice.new_or_existing(), file, new_id=new_id, format=format, skip_damaged=skip_damaged
        )
        write(imported + "\n")

    perform(body)
