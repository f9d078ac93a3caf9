"""``moorage chat`` as a command: what it takes."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from pathlib import Path
from typing import Annotated, Literal

import typer
from moorage.runtime import InvalidArgument
from moorage.runtime.agents import Agents

from ..agent_spec import FORMS, load_agent
from ..chosen_source import NO_RECOVERY, Choice, chosen_source
from ..frame import perform
from ..options import DataDirectory, KeyFile, StoreSpec, is_set
from ..remote import Server, TokenFile, Url
from .conversing import Manners
from .hosting import Host, Invitation
from .keyboard import is_interactive

Mode = Literal["default", "accept_edits", "plan", "full_auto", "dangerously_skip_permissions"]


def chat(
    context: typer.Context,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="What to say first.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", "-a", metavar="SPEC", envvar="MOORAGE_AGENT", help=f"{FORMS}."),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", metavar="ID", help="This session, new or not."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--continue", "-c", help="The latest session of the working directory."),
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="The model; remembered.")
    ] = None,
    permission_mode: Annotated[
        Mode | None, typer.Option(help="What tools may do unasked; remembered.")
    ] = None,
    approve_all: Annotated[
        bool, typer.Option("--approve-all", help="Approve every tool's request.")
    ] = False,
    recover_others: Annotated[
        bool,
        typer.Option("--recover-others", help="Let this agent finish other sessions' runs too."),
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write all events to this file, too, as JSON lines; with {session_id} in its "
            "name there is one for each session.",
        ),
    ] = None,
    data: DataDirectory = None,
    store: StoreSpec = None,
    keys: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Talk with an agent in the terminal.

    A new session of the working directory, unless one is named; it remembers its agent. Ctrl-C
    cancels a run, twice leaves. Without a terminal each line of standard input is a message, and
    tools' requests are denied. With --url a server's agent works, also when one leaves.
    """
    if resume and session is not None:
        raise typer.BadParameter("say either this or --session", param_hint="--continue")
    choice = chosen_source(context, data, store, keys, url, token_file)
    spec, agents, named = _agent(context, choice, agent, recover_others)
    _make_directory_of(log)
    invitation = Invitation(
        store=choice,
        session_id=session,
        resume=resume,
        spec=spec,
        agents=agents,
        model=model,
        permission_mode=permission_mode,
        message=message,
        recover_others=recover_others,
        manners=Manners(
            interactive=is_interactive(), approve_all=approve_all, log=log, agent=named
        ),
    )
    perform(Host(invitation).perform)


def _agent(
    context: typer.Context, choice: Choice, said: str | None, recover_others: bool
) -> tuple[str | None, Agents | None, str | None]:
    """The agent's spec and what it names or, at a server, the name of one of its agents. Raises
    BadParameter."""
    if isinstance(choice, Server):
        if recover_others:
            raise typer.BadParameter(NO_RECOVERY, param_hint="--recover-others")
        return None, None, None if is_set(context, "agent") else said
    try:
        return said, None if said is None else load_agent(said), None
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint="--agent") from error


def _make_directory_of(log: Path | None) -> None:
    """Raises BadParameter. One with ``{session_id}`` in it cannot be known yet."""
    if log is None or "{" in str(log.parent):
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{log.parent}: {error.strerror}", param_hint="--log") from None
