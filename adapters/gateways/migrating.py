"""``moorage migrate``: the tables of a Postgres database, made or brought to this release."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import re
from functools import partial
from typing import Annotated, Any

import attrs
import typer

from .frame import CommandFailed, note, perform
from .options import StoreSpec, chosen_store
from .store_spec import KINDS, SCHEMES, parse_spec
from .tables import show_json

VARIABLE = "MOORAGE_DSN"
_SPEC = re.compile(rf"({'|'.join([*KINDS, *SCHEMES])}):")


def migrate(
    context: typer.Context,
    dsn: Annotated[
        str | None,
        typer.Argument(
            metavar="[DSN]",
            envvar=VARIABLE,
            help="postgresql://user@host/database, or what --store takes; without, --store or "
            "MOORAGE_STORE. By a variable nobody else sees a password.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The schema that the tables are in.", show_default="moorage"
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Make the event table in so many parts, by session; it stays so for ever.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a line.")] = False,
    store: StoreSpec = None,
) -> None:
    """Make the tables of a Postgres database, or bring them to this release's version."""
    # DSN is not looked at beside --store when it only comes from the variable
    said = dsn if dsn is not None and store is None else chosen_store(context, None, store).spec
    if said is None:
        raise typer.BadParameter("name a database: DSN, or --store postgres:DSN", param_hint="DSN")
    perform(partial(_migrate_named, said, schema=schema, partitions=partitions, as_json=as_json))


async def _migrate_named(
    said: str, *, schema: str | None, partitions: int | None, as_json: bool
) -> None:
    options: dict[str, Any] = {}
    if _SPEC.match(said):
        spec = parse_spec(said)
        if spec.kind != "postgres":
            raise CommandFailed(f"{spec.shown!r} has no tables to migrate: only Postgres has")
        said, options = spec.place, spec.options
    schema = schema or options.get("schema", "moorage")
    await migrate_database(said, schema=schema, partitions=partitions, as_json=as_json)


async def migrate_database(
    dsn: str, *, schema: str, partitions: int | None = None, as_json: bool
) -> None:
    """Raises CommandFailed without the extra, InvalidArgument, and StoreFailed."""
    try:
        from moorage.stores.postgres import PostgresStore  # the driver is an extra
    except ImportError as error:
        raise CommandFailed(str(error)) from error
    report = await PostgresStore(dsn, schema=schema).migrate(partitions=partitions)
    if as_json:
        show_json(attrs.asdict(report))
    elif report.before == report.after:
        note(f"schema {report.schema!r} is at version {report.after}: there is nothing to do")
    else:
        note(f"schema {report.schema!r} is migrated from version {report.before} to {report.after}")
