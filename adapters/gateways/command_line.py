"""The command ``moorage``: what each command takes, and nothing of how it is done.

Data goes to standard output, talk to standard error. Exit codes are those of ``frame``.
"""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Literal

import typer
from moorage.adapters.sinks import Format
from moorage.runtime import InvalidArgument

from . import data_directory
from .agent_spec import FORMS, load_agent
from .demo.story import tell_story
from .exporting import export_session
from .following import show_events
from .frame import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    configure_logging,
    discard_output,
    note,
    perform,
    write,
)
from .importing import import_session
from .listing import list_sessions, show_status
from .removing import delete_session
from .running import Order, parse_input, run_inputs
from .signals import until_signalled
from .upkeep import compact_journal, salvage_journal, verify_journal

app = typer.Typer(
    name="moorage",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The variable is read by the option before the command only, or it would beat that option.
DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help=f"Where the journal is (or {data_directory.VARIABLE} says it).",
        show_default=str(data_directory.DEFAULT),
    ),
]
DataDirectoryBefore = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar=data_directory.VARIABLE,
        help="Where the journal is; may stand behind the command, too.",
        show_default=str(data_directory.DEFAULT),
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session.")]


EXIT_CODES = (
    "Exit codes: 0 it worked; 1 it failed or was refused, as standard error says; 2 the command "
    "line cannot be understood, and nothing was done; 130 after Ctrl-C, 143 after SIGTERM, 141 "
    "when nobody reads the output any more."
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # takes a while, and nothing else needs it

        write(f"moorage {version('moorage')}\n")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def moorage(
    context: typer.Context,
    data: DataDirectoryBefore = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and leave."
        ),
    ] = False,
) -> None:
    """Durable sessions for services that hold conversations with agents."""
    configure_logging()
    context.obj = data


def _directory(context: typer.Context, data: Path | None) -> Path:
    """``--data`` may stand before the command, too."""
    return data or context.obj or data_directory.DEFAULT


def _reading(
    context: typer.Context,
    data: Path | None,
    command: Callable[..., Awaitable[int | None]],
    *,
    long: bool = False,
) -> None:
    """Perform a command on a journal that must be there. A ``long`` one ends in order when a
    signal comes, and must not block the event loop."""

    async def body() -> int | None:
        return await command(data_directory.existing(_directory(context, data)))

    perform(partial(until_signalled, body) if long else body)


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option(min=1, help="How long to work, about; more on a slow machine.")
    ] = 25.0,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Leave the journal and the record in this directory."),
    ] = None,
) -> None:
    """The whole story in 30 seconds, with a kill -9 in the middle.

    A service runs real programs, is killed and started again; a client that kept its own record
    proves that nothing is missing. Exit code 1, and the reason, if anything is.
    """
    perform(partial(until_signalled, partial(tell_story, seconds=seconds, keep=keep)))


@app.command()
def run(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="One run each: a JSON object or array, or text; - reads standard input.",
        ),
    ],
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", metavar="ID", help="The session; without, a new one."),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", "-a", metavar="SPEC", envvar="MOORAGE_AGENT", help=f"{FORMS}."),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Runs at once in this session; remembered.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Limit of each run.")
    ] = None,
    on_interrupt: Annotated[
        Literal["fail", "requeue"],
        typer.Option(help="What becomes of a running run when this process ends."),
    ] = "fail",
    format: Annotated[Format | None, typer.Option(help="How to show the events.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no events.")] = False,
    recover_others: Annotated[
        bool,
        typer.Option("--recover-others", help="Let this agent finish other sessions' runs too."),
    ] = False,
    as_json: AsJson = False,
    data: DataDirectory = None,
) -> None:
    """Submit inputs to a session, stream what happens, and wait for the outcomes.

    Exit code 1 if a run did not complete. This process owns the journal meanwhile, and unfinished
    runs of the session go on; if other sessions have some too, it refuses.
    """
    if agent is None:
        raise typer.BadParameter(f"an agent is needed: {FORMS}", param_hint="--agent")
    try:
        loaded = load_agent(agent)
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint="--agent") from error
    if inputs.count("-") > 1:
        raise typer.BadParameter("standard input can be read once", param_hint="INPUT")
    try:
        values = [parse_input(_standard_input() if text == "-" else text) for text in inputs]
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint="INPUT") from error
    order = Order(
        session_id=session,
        inputs=values,
        slots=slots,
        timeout_seconds=timeout,
        on_interrupt=on_interrupt,
        format=format or (None if quiet or as_json else "compact"),
        as_json=as_json,
        recover_others=recover_others,
    )
    store = data_directory.new_or_existing(_directory(context, data))
    perform(partial(until_signalled, partial(run_inputs, store, loaded, order)))


def _standard_input() -> str:
    content = sys.stdin.buffer.read()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"standard input is not UTF-8: byte {content[error.start]:#04x} at offset "
            f"{error.start}: convert it first, for example with iconv -t UTF-8"
        ) from None


def _parse_tags(tags: list[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for text in tags:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--tag")
        parsed[name] = value
    return parsed


@app.command()
def sessions(
    context: typer.Context,
    prefix: Annotated[str, typer.Option(help="Only ids that begin with this.")] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Only sessions with this tag; may be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: AsJson = False,
    data: DataDirectory = None,
) -> None:
    """List sessions, the newest change first."""
    tags = _parse_tags(tag or [])
    _reading(
        context,
        data,
        partial(list_sessions, prefix=prefix, tags=tags, limit=limit, as_json=as_json),
    )


@app.command()
def status(
    context: typer.Context, id: SessionId, as_json: AsJson = False, data: DataDirectory = None
) -> None:
    """Show one session: state, slots, and which runs are running, queued or waiting."""
    _reading(context, data, partial(show_status, session_id=id, as_json=as_json))


@app.command()
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
    data: DataDirectory = None,
) -> None:
    """Show a session's events, beside whoever is writing them."""
    _reading(
        context,
        data,
        partial(
            show_events,
            session_id=id,
            after=after,
            last=last,
            follow=follow,
            types=set(type) if type else None,
            run_id=run,
            format="jsonl" if as_json else format,
        ),
        long=True,
    )


@app.command()
def export(
    context: typer.Context,
    id: SessionId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of the screen.")
    ] = None,
    data: DataDirectory = None,
) -> None:
    """Write a session as JSON lines, from which import makes it again."""
    target = None if output == Path("-") else output
    _reading(context, data, partial(export_session, session_id=id, output=target), long=True)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="An export; - reads standard input.")],
    new_id: Annotated[
        str | None, typer.Option("--as", metavar="NEWID", help="Another id than that of the file.")
    ] = None,
    data: DataDirectory = None,
) -> None:
    """Make a session from an export, with its times and outcomes; prints the id."""
    store = data_directory.new_or_existing(_directory(context, data))

    async def body() -> None:
        with _seekable(file) as lines:
            imported = await import_session(store, lines, new_id)
        write(imported + "\n")

    perform(body)


def _seekable(name: str) -> IO[str]:
    """The file, or a copy of standard input: an import reads it twice."""
    if name != "-":
        return open(name, encoding="utf-8", errors="surrogateescape", newline="\n")
    copy = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115
    copy.writelines(sys.stdin)
    return copy


@app.command()
def delete(
    context: typer.Context,
    id: SessionId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataDirectory = None,
) -> None:
    """Delete a session and all of its events."""
    _reading(context, data, partial(delete_session, session_id=id, sure=yes))


@app.command()
def verify(context: typer.Context, as_json: AsJson = False, data: DataDirectory = None) -> None:
    """Read the whole journal and check it, beside its owner; exit code 1 if it is damaged."""
    _reading(context, data, partial(verify_journal, as_json=as_json), long=True)


@app.command()
def salvage(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="NEWDIR", help="A new directory.")],
    as_json: AsJson = False,
    data: DataDirectory = None,
) -> None:
    """Copy what can be read of a damaged journal into a new one; the damaged one stays as it is."""
    _reading(context, data, partial(salvage_journal, target=to, as_json=as_json), long=True)


@app.command()
def compact(context: typer.Context, as_json: AsJson = False, data: DataDirectory = None) -> None:
    """Free the space of what was deleted or trimmed."""
    _reading(context, data, partial(compact_journal, as_json=as_json), long=True)


def main() -> None:
    """The entry point: leaves the process with an exit code."""
    try:
        app()
    except SystemExit as left:
        # what typer and rich make of it, for the version and the help: exit code 1
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        discard_output()
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:  # of writing the version and the help
        discard_output()
        note(error.strerror or str(error))
        sys.exit(EXIT_FAILED)
