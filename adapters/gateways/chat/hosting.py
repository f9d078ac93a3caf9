"""What is around a conversation: the journal, the session, the agent, and the way back."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import attrs
import trio
from moorage.runtime import SessionHeld, SupervisorLimits, open_reader, open_supervisor
from moorage.runtime.agents import Agents

from ..agent_spec import FORMS, load_agent
from ..chosen_source import Choice
from ..frame import EXIT_FAILED, CommandFailed, note, write
from ..remote import Server
from ..signals import until_signalled
from ..tables import in_color, terminal_width
from ..unfinished import refuse_others, starts_nothing, tell_of, unfinished_runs
from .conversing import Conversation, Manners
from .keyboard import open_keyboard
from .places import (
    AGENT_KEY,
    DIRECTORY_TAG,
    MODEL_KEY,
    PERMISSION_KEY,
    find_session,
    has_others,
    here,
    resume_command,
)
from .screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.runtime import Session, SessionInfo, Supervisor
    from moorage.runtime.ports import Store

    from ..chosen_store import StoreChoice
    from ..sources import Source


@attrs.frozen(kw_only=True)
class Invitation:
    """What the command line said. ``agents`` is what ``spec`` names, unless both are None: then
    the session knows it, or a server has its own. ``message`` is said first."""

    store: Choice
    session_id: str | None
    resume: bool
    spec: str | None
    agents: Agents | None
    model: str | None
    permission_mode: str | None
    message: str | None
    recover_others: bool
    manners: Manners


class Host:
    """Performs an invitation; Ctrl-C goes to the conversation while there is one."""

    def __init__(self, invitation: Invitation) -> None:
        self._invitation = invitation
        self._conversation: Conversation | None = None
        self._begun = ""

    async def perform(self) -> int:
        """Hold the conversation to its end. Returns the exit code: without a person it is 1 if
        anything has not worked.

        Raises CommandFailed for a session, an agent or a journal that cannot be had,
        InvalidArgument where this agent would finish other sessions' runs, and KeyboardInterrupt
        or Terminated.
        """
        code = await until_signalled(self._perform, interrupt=self._interrupt)
        return code or 0

    def _interrupt(self) -> bool:
        return self._conversation is not None and self._conversation.interrupt()

    async def _perform(self) -> int:
        invitation = self._invitation
        if isinstance(invitation.store, Server):
            return await self._perform_at(invitation.store)
        store = invitation.store.new_or_existing()
        info = await self._known(store)
        spec, agents = self._agent(info)
        with _telling_who_holds(invitation.store):
            await self._check_others(store, info)
            # what still runs when the person leaves is interrupted at once
            limits = SupervisorLimits(drain_seconds=0)
            async with open_supervisor(store, agents, limits=limits) as supervisor:
                session = await self._open(supervisor, info, spec)
                return await self._hold(supervisor, session, new=info is None)

    async def _perform_at(self, server: Server) -> int:
        info = await self._known(server)
        async with server.connected(patient=True) as client:
            supervisor = cast("Supervisor", client)  # it has the same names
            session = await self._open(supervisor, info, None)
            return await self._hold(supervisor, session, new=info is None)

    async def _known(self, source: Source) -> SessionInfo | None:
        invitation = self._invitation
        if not invitation.resume and invitation.session_id is None:
            return None
        info = await find_session(source, invitation.session_id)
        if info is None and invitation.resume:
            other = "--url" if isinstance(invitation.store, Server) else "--data or --store"
            others = await has_others(source)
            mine = ", say --session ID for one of another directory" if others else ""
            raise CommandFailed(
                f"there is no session of the directory {here()} in {invitation.store.told!r}: "
                f"leave --continue out to begin one{mine}, or name another {other}"
            )
        return info

    def _agent(self, info: SessionInfo | None) -> tuple[str, Agents]:
        invitation = self._invitation
        recorded = None if info is None else info.metadata.get(AGENT_KEY)
        spec = invitation.spec or recorded
        if not isinstance(spec, str):
            raise CommandFailed(f"an agent is needed: --agent SPEC, where SPEC is {FORMS}")
        return spec, load_agent(spec) if invitation.agents is None else invitation.agents

    async def _check_others(self, store: Store, info: SessionInfo | None) -> None:
        own = self._invitation.session_id if info is None else info.id
        unfinished = await unfinished_runs(store)
        others = [id for id in unfinished if id != own]
        if others and not self._invitation.recover_others:
            async with open_reader(store) as reader:
                others = [id for id in others if not await starts_nothing(reader.session(id))]
            if others:
                await refuse_others(store, others)
        tell_of({id: unfinished[id] for id in unfinished if id in (own, *others)}, own)

    async def _open(
        self, supervisor: Supervisor, info: SessionInfo | None, spec: str | None
    ) -> Session:
        invitation = self._invitation
        tags = {DIRECTORY_TAG: here(), **({} if info is None else info.tags)}
        id = invitation.session_id if info is None else info.id
        session = await supervisor.session(id, tags=tags)
        recorded = {
            AGENT_KEY: spec,
            MODEL_KEY: invitation.model,
            PERMISSION_KEY: invitation.permission_mode,
        }
        given = {name: value for name, value in recorded.items() if value is not None}
        await session.configure(metadata_update=given)
        return session

    async def _hold(self, supervisor: Supervisor, session: Session, *, new: bool) -> int:
        invitation = self._invitation
        manners = invitation.manners
        keyboard = open_keyboard(manners.interactive)
        conversation = Conversation(
            supervisor,
            session,
            keyboard=keyboard,
            screen=Screen(color=in_color(), width=terminal_width()),
            manners=manners,
        )
        self._begun = session.id
        note(f"session {session.id} in {invitation.store.shown}; /help says what can be done")
        self._conversation = conversation
        try:
            await conversation.hold(invitation.message)
        finally:
            self._conversation = None
            keyboard.close()
            with suppress(BrokenPipeError):
                write(conversation.screen.close())
            with trio.CancelScope(shield=True):
                await self._part(supervisor, conversation.session, new=new)
        return EXIT_FAILED if conversation.failed and not manners.interactive else 0

    async def _part(self, supervisor: Supervisor, session: Session, *, new: bool) -> None:
        """Say how to come back; a session in which nothing was said is not left behind."""
        new = new and session.id == self._begun and session.id != self._invitation.session_id
        if new and not (await session.info()).runs and not await session.messages():
            await supervisor.delete_session(session.id)
            note("nothing was said, so there is no session to come back to")
            return
        note(f"session {session.id} in {self._invitation.store.shown}")
        note(f"go on with: {resume_command(self._invitation.store, session.id)}")


@contextmanager
def _telling_who_holds(choice: StoreChoice) -> Iterator[None]:
    try:
        yield
    except SessionHeld as error:
        what, option = ("store", "--store") if choice.data is None else ("journal", "--data")
        raise CommandFailed(
            f"the {what} in {choice.told!r} is in use by {error.holder}: end that, or name another "
            f"{option}"
        ) from error
