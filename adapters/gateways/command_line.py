"""The command ``moorage``: what each command takes, and nothing of how it is done.

Data goes to standard output, talk to standard error. Exit codes are those of ``frame``.
"""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from moorage.adapters.sinks import Format
from moorage.runtime import InvalidArgument
from moorage.runtime.agents import Agents
from typer.core import TyperGroup

from .agent_spec import FORMS, load_agent
from .attach_command import attach
from .chat.command import chat
from .chosen_source import NO_RECOVERY, Choice, chosen_source
from .config_command import app as config_commands
from .copy_command import copy
from .demo.story import tell_story
from .frame import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    configure_logging,
    discard_output,
    note,
    perform,
    settle_output,
    write,
)
from .keys_command import keys as key_commands
from .migrating import migrate
from .nodes_command import nodes
from .options import (
    AsJson,
    Before,
    ConfigFileBefore,
    DataDirectory,
    DataDirectoryBefore,
    KeyFile,
    KeyFileBefore,
    StoreSpec,
    StoreSpecBefore,
    is_set,
)
from .query_commands import runs, search, sessions, usage
from .remote import Server, TokenFile, Url
from .removal_commands import delete, prune_, undelete
from .run_commands import approve, cancel, deny
from .running import Order, parse_input, run_at, run_inputs
from .serve_command import serve
from .session_commands import events, export, import_, status
from .signals import until_signalled
from .token_command import app as tokens
from .upkeep_commands import compact, salvage, verify
from .webhooks_command import app as webhooks


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # of the library that reads options, and no word of the person's
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    name="moorage",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
    store: StoreSpecBefore = None,
    keys: KeyFileBefore = None,
    config: ConfigFileBefore = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and leave."
        ),
    ] = False,
) -> None:
    """Durable sessions for services that hold conversations with agents."""
    configure_logging()
    context.obj = Before.of(context, data, store, keys, config)


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
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Submit inputs to a session, stream what happens, and wait for the outcomes.

    Exit code 1 if a run did not complete. This process owns the journal meanwhile, and unfinished
    runs of the session go on; if other sessions have some too, it refuses. With --url a server's
    agent works, which --agent may name, and goes on when this process ends.

    A run that asks something waits for the answer, and standard error says which command gives
    it: without a server that is moorage chat, after Ctrl-C has ended this.
    """
    choice = chosen_source(context, data, store, keys, url, token_file)
    at_server = isinstance(choice, Server)
    if at_server and recover_others:
        raise typer.BadParameter(NO_RECOVERY, param_hint="--recover-others")
    agents = None if at_server else _loaded(agent)
    order = Order(
        session_id=session,
        inputs=_parse_inputs(inputs),
        slots=slots,
        timeout_seconds=timeout,
        on_interrupt=on_interrupt,
        format=format or (None if quiet or as_json else "compact"),
        as_json=as_json,
        recover_others=recover_others,
        agent=agent if at_server and not is_set(context, "agent") else None,
        choice=choice,
        agent_spec=None if at_server else agent,
    )
    perform(partial(until_signalled, partial(_run, choice, agents, order)))


async def _run(choice: Choice, agents: Agents | None, order: Order) -> int:
    if isinstance(choice, Server):
        return await run_at(choice, order)
    assert agents is not None, "there is no run without an agent"
    return await run_inputs(choice.new_or_existing(), agents, order)


def _loaded(spec: str | None) -> Agents:
    if spec is None:
        raise typer.BadParameter(f"an agent is needed: {FORMS}", param_hint="--agent")
    try:
        return load_agent(spec)
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint="--agent") from error


def _parse_inputs(inputs: list[str]) -> list[Any]:
    if inputs.count("-") > 1:
        raise typer.BadParameter("standard input can be read once", param_hint="INPUT")
    try:
        return [parse_input(_standard_input() if text == "-" else text) for text in inputs]
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint="INPUT") from error


def _standard_input() -> str:
    content = sys.stdin.buffer.read()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"standard input is not UTF-8: byte {content[error.start]:#04x} at offset "
            f"{error.start}: convert it first, for example with iconv -t UTF-8"
        ) from None


_PANELS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Talk": {
        "chat": chat,
        "run": run,
        "attach": attach,
        "cancel": cancel,
        "approve": approve,
        "deny": deny,
        "demo": demo,
    },
    "Look": {
        "sessions": sessions,
        "status": status,
        "events": events,
        "runs": runs,
        "search": search,
        "usage": usage,
    },
    "Keep": {
        "export": export,
        "import": import_,
        "copy": copy,
        "delete": delete,
        "undelete": undelete,
        "prune": prune_,
        "verify": verify,
        "salvage": salvage,
        "compact": compact,
        "keys": key_commands,
    },
    "Serve": {
        "serve": serve,
        "config": config_commands,
        "tokens": tokens,
        "webhooks": webhooks,
        "nodes": nodes,
        "migrate": migrate,
    },
}
"""The help's panels, and their commands in the order in which they are shown."""


def _flow(text: str) -> str:
    """Paragraphs of one line each: rich would break where the docstring does, and at the edge."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


for panel, commands in _PANELS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
            for registered in command.registered_commands:
                registered.help = _flow(getattr(registered.callback, "__doc__", None) or "")
        else:
            text = _flow(command.__doc__ or "")
            app.command(name, help=text, rich_help_panel=panel)(command)


def main() -> None:
    """The entry point: leaves the process with an exit code."""
    try:
        app()
    except SystemExit as left:
        # what typer and rich make of it, for the version and the help: exit code 1
        if not isinstance(left.__context__, BrokenPipeError):
            settle_output()
            raise
        discard_output()
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:  # of writing the version and the help
        discard_output()
        note(error.strerror or str(error))
        sys.exit(EXIT_FAILED)
