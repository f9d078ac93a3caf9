"""What ``moorage delete``, ``undelete`` and ``prune`` take."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from moorage.runtime import InvalidArgument

from .chosen_source import chosen_source
from .chosen_store import perform_on
from .options import (
    AsJson,
    DataDirectory,
    KeyFile,
    SessionId,
    StoreSpec,
    chosen_store,
    parsed_tags,
)
from .pruning import policy_of, prune, read_policy
from .remote import TokenFile, Url
from .removing import delete_session, undelete_session

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OlderThan = Annotated[
    str | None, typer.Option(metavar="SPAN", help="No change for so long: 90m, 12h, 30d, 2w.")
]
ClosedFor = Annotated[str | None, typer.Option(metavar="SPAN", help="Closed for so long.")]
EventsOlderThan = Annotated[
    str | None, typer.Option(metavar="SPAN", help="Trim events that are older.")
]
PurgeAfter = Annotated[
    str | None, typer.Option(metavar="SPAN", help="For good, what was hidden for so long.")
]
State = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATE",
        help="Only open, paused, closed or quarantined ones, or closed as completed, failed or "
        "cancelled; may be repeated.",
    ),
]


def delete(
    context: typer.Context,
    id: SessionId,
    yes: Yes = False,
    soft: Annotated[
        bool, typer.Option("--soft", help="Hide it only: undelete brings it back.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export it to a new file first, and only then delete."),
    ] = None,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Delete a session and all of its events."""
    deleting = partial(delete_session, session_id=id, sure=yes, soft=soft, export=export)
    perform_on(chosen_source(context, data, store, keys, url, token_file), deleting, long=True)


def undelete(
    context: typer.Context,
    id: SessionId,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Bring back a session that was deleted with --soft."""
    undeleting = partial(undelete_session, session_id=id)
    perform_on(chosen_source(context, data, store, keys, url, token_file), undeleting, long=True)


def prune_(
    context: typer.Context,
    older_than: OlderThan = None,
    closed_for: ClosedFor = None,
    keep: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Not among the newest N of its group.")
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The oldest, until no more than 500MB or 2GiB is left."),
    ] = None,
    state: State = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only with this tag; may be repeated."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only ids that begin with this.")] = "",
    group_by_tag: Annotated[
        str | None, typer.Option(metavar="NAME", help="--keep and --max-bytes for each value.")
    ] = None,
    keep_events: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Trim sessions to their last N events.")
    ] = None,
    events_older_than: EventsOlderThan = None,
    exempt_tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VALUE]", help="Spare what has this tag; may be repeated."),
    ] = None,
    purge_after: PurgeAfter = None,
    soft: Annotated[bool, typer.Option("--soft", help="Hide instead of deleting.")] = False,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A policy, in TOML or JSON.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
) -> None:
    """Delete or trim the sessions that meet all that is asked for, and those that have expired.

    Sessions with unfinished runs are never touched. Where another process owns the store, only
    --dry-run works.
    """
    try:
        chosen = policy_of(
            {} if policy is None else read_policy(policy),
            covers={"prefix": prefix, "tags": parsed_tags(tag or []), "states": state},
            conditions={
                "older_than": older_than,
                "closed_for": closed_for,
                "keep_newest": keep,
                "bytes_max": max_bytes,
                "group_by_tag": group_by_tag,
            },
            trims={"events_keep_last": keep_events, "events_older_than": events_older_than},
            soft=soft,
            exempt_tags=exempt_tag or (),
            purge_after=purge_after,
        )
    except (InvalidArgument, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    pruning = partial(prune, policy=chosen, dry_run=dry_run, sure=yes, as_json=as_json)
    perform_on(chosen_store(context, data, store, keys), pruning, long=True)
