"""What ``moorage sessions``, ``runs``, ``search`` and ``usage`` take."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import time
from functools import partial
from typing import Annotated, Literal

import typer
from moorage.runtime import InvalidArgument, RunState, SessionState

from .chosen_source import chosen_source
from .chosen_store import perform_on
from .listing import list_sessions
from .moments import FORMS, parse_moment
from .options import AsJson, DataDirectory, KeyFile, StoreSpec, parsed_tags
from .remote import TokenFile, Url
from .searching import find_sessions, list_runs, search_events, show_usage

SessionIdOrAll = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The session; without, all of them.")
]
Prefix = Annotated[str, typer.Option(help="Only ids that begin with this.")]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="NAME=VALUE", help="Only sessions with this tag; may be repeated."
    ),
]
RunStates = Annotated[
    list[RunState] | None, typer.Option("--state", help="Only runs in this state; may be repeated.")
]
Agent = Annotated[str | None, typer.Option(metavar="NAME", help="Only runs that named this agent.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="MOMENT", help=f"Only runs submitted from then on: {FORMS}."),
]
Until = Annotated[
    str | None, typer.Option(metavar="MOMENT", help="Only runs submitted before, likewise.")
]
Cursor = Annotated[
    str | None,
    typer.Option(metavar="CURSOR", help="Go on where a list was cut, with the same options."),
]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]


def _moment(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_moment(text, time.time_ns())
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def sessions(
    context: typer.Context,
    prefix: Prefix = "",
    tag: Tags = None,
    state: Annotated[
        list[SessionState] | None,
        typer.Option(help="Only sessions in this state; may be repeated."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Only with this in the id or the summary, in any case.")
    ] = None,
    order: Annotated[
        Literal["modified", "created", "id"],
        typer.Option(help="By last change or creation, the newest first, or by id."),
    ] = "modified",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    cursor: Cursor = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those too that are hidden by delete --soft.")
    ] = False,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List sessions, the newest change first.

    If --limit cuts the list, standard error says with which --cursor it goes on; with --json that
    is one line, {"next_cursor": "..."}.
    """
    tags = parsed_tags(tag or [])
    if limit is None and cursor is None and not state and text is None and order == "modified":
        everything = partial(
            list_sessions, prefix=prefix, tags=tags, deleted=deleted, as_json=as_json
        )
        perform_on(
            chosen_source(context, data, store, keys, url, token_file), everything, long=True
        )
        return
    searching = partial(
        find_sessions,
        prefix=prefix,
        tags=tags,
        states=set(state) if state else None,
        text=text,
        order=order,
        descending=order != "id",
        limit=limit,
        cursor=cursor,
        include_deleted=deleted,
        as_json=as_json,
    )
    perform_on(chosen_source(context, data, store, keys, url, token_file), searching, long=True)


def runs(
    context: typer.Context,
    id: SessionIdOrAll = None,
    prefix: Prefix = "",
    tag: Tags = None,
    state: RunStates = None,
    agent: Agent = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only runs submitted with this key.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Only with this in the input, in any case.")
    ] = None,
    since: Since = None,
    until: Until = None,
    order: Annotated[
        Literal["submitted", "session"],
        typer.Option(help="The newest first, or session by session, which goes through all."),
    ] = "submitted",
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List runs of a session or of all: how they ended, how long they took, what they used.

    Where there may be more, standard error says with which --cursor it goes on; with --json that
    is one line, {"next_cursor": "..."}.
    """
    listing = partial(
        list_runs,
        session_id=id,
        prefix=prefix,
        tags=parsed_tags(tag or []),
        states=set(state) if state else None,
        agent=agent,
        key=key,
        text=text,
        submitted_after_ns=_moment(since, "--since"),
        submitted_before_ns=_moment(until, "--until"),
        order=order,
        limit=limit,
        cursor=cursor,
        as_json=as_json,
    )
    perform_on(chosen_source(context, data, store, keys, url, token_file), listing, long=True)


def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in any case.")],
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="ID", help="Only in this session.")
    ] = None,
    prefix: Prefix = "",
    tag: Tags = None,
    type: Annotated[
        list[str] | None, typer.Option(help="Only events of this type; may be repeated.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only this run.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="MOMENT", help=f"Only events from then on: {FORMS}.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Only events before, likewise.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Find events by a text anywhere in their data, session by session.

    Where there may be more, standard error says with which --cursor it goes on; with --json that
    is one line, {"next_cursor": "..."}.
    """
    searching = partial(
        search_events,
        text=text,
        session_id=session,
        prefix=prefix,
        tags=parsed_tags(tag or []),
        types=set(type) if type else None,
        run_id=run,
        after_ns=_moment(since, "--since"),
        before_ns=_moment(until, "--until"),
        limit=limit,
        cursor=cursor,
        as_json=as_json,
    )
    perform_on(chosen_source(context, data, store, keys, url, token_file), searching, long=True)


def usage(
    context: typer.Context,
    id: SessionIdOrAll = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="GROUP", help="session, agent, model, day (of submission, UTC) or tag:NAME."
        ),
    ] = "session",
    prefix: Prefix = "",
    tag: Tags = None,
    state: RunStates = None,
    agent: Agent = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Add up tokens, cost and time of runs, as they were recorded; nothing is estimated."""
    summing = partial(
        show_usage,
        by=by,
        session_id=id,
        prefix=prefix,
        tags=parsed_tags(tag or []),
        states=set(state) if state else None,
        agent=agent,
        submitted_after_ns=_moment(since, "--since"),
        submitted_before_ns=_moment(until, "--until"),
        as_json=as_json,
    )
    perform_on(chosen_source(context, data, store, keys, url, token_file), summing, long=True)
