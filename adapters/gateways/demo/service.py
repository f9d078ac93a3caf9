"""The service of the demo: a supervisor on a journal, reached through a socket.

``python -m moorage.adapters.gateways.demo.service DIRECTORY TOKEN``

One connection carries either requests, ``{"id", "op", ...}`` answered by ``{"id", ...}``, or, after
``{"op": "follow", "session", "name"}``, the events of one session in one direction and
acknowledgements in the other.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.agents import ProcessAgent
from moorage.adapters.gateways.frame import configure_logging
from moorage.adapters.sinks import event_to_json
from moorage.runtime import MoorageError, SupervisorLimits, open_supervisor
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.stores import JournalStore

from .places import Places
from .programs import SESSIONS, SLOTS, command_of, label_of
from .wire import Lines, PeerGone, standard_streams

if TYPE_CHECKING:
    from moorage.runtime import Event, RunContext, RunRequest, Session, Subscription, Supervisor

TOKEN_VARIABLE = "MOORAGE_DEMO"
"""In the environment of every program, so that the story can find those that are left."""


class Programs:
    """The agent: writes down that a run reached it, then runs the program."""

    def __init__(self, places: Places, token: str) -> None:
        self.running: dict[str, dict[str, str]] = {session_id: {} for session_id in SESSIONS}
        self.first_started = trio.Event()
        self._started = open(places.started, "a", buffering=1)  # noqa: SIM115 - see close()
        self.process = ProcessAgent(
            partial(command_of, scratch=places.scratch),
            cwd=places.scratch,
            environment={TOKEN_VARIABLE: token},
        )

    def close(self) -> None:
        """Nothing will reach it any more."""
        self._started.close()

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        self._started.write(f"{request.run_id} {request.attempt}\n")
        running = self.running[request.session_id]
        running[request.run_id] = label_of(request.input)
        self.first_started.set()
        try:
            return await self.process(request, context)
        finally:
            del running[request.run_id]


class Service:
    """Answers connections."""

    def __init__(
        self, supervisor: Supervisor, sessions: dict[str, Session], work: Programs
    ) -> None:
        self._supervisor = supervisor
        self._sessions = sessions
        self._work = work
        self._said: dict[str, str] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        lines = Lines(stream, stream)
        with suppress(PeerGone):
            async with trio.open_nursery() as nursery:
                async for request in lines:
                    if request["op"] == "follow":
                        await self._follow(lines, request)
                        break
                    nursery.start_soon(self._answer, lines, request)
        await lines.aclose()

    async def _answer(self, lines: Lines, request: dict[str, Any]) -> None:
        try:
            answer = await _OPERATIONS[request["op"]](self, request)
        except MoorageError as error:
            answer = {"error": error.code, "message": str(error)}
        with suppress(PeerGone):
            await lines.send({"id": request["id"], **answer})

    async def _submit(self, request: dict[str, Any]) -> dict[str, Any]:
        run = await self._sessions[request["session"]].submit(
            request["input"], key=request["key"], on_interrupt=request["on_interrupt"]
        )
        return {"run_id": run.id}

    async def _cancel(self, request: dict[str, Any]) -> dict[str, Any]:
        session = self._sessions[request["session"]]
        return {"took": await session.cancel(request["run_id"], reason="the demo says so")}

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        rows = {}
        for session_id, session in self._sessions.items():
            status = await session.status()
            rows[session_id] = {
                "slots": status.slots,
                "running": list(self._work.running[session_id].values()),
                "queued": len(status.queued),
                "events": status.head_seq,
                "said": self._said.get(session_id, ""),
            }
        return {"sessions": rows}

    async def _follow(self, lines: Lines, request: dict[str, Any]) -> None:
        session = self._sessions[request["session"]]
        async with session.subscribe(name=request["name"]) as events:
            ends: dict[int, Event] = {}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_acks, lines, events, ends, nursery.cancel_scope)
                async for batch in events.batches():
                    ends |= {event.seq: event for event in batch if _is_end(event)}
                    self._listen(batch)
                    await lines.send({"events": [event_to_json(event) for event in batch]})
                nursery.cancel_scope.cancel()

    def _listen(self, batch: list[Event]) -> None:
        """Keep the last line that a session's programs said, for the screen."""
        for event in batch:
            if event.type == "message_streamed" and event.data["delta"].strip():
                self._said[event.session_id] = event.data["delta"].strip()

    async def _take_acks(
        self, lines: Lines, events: Subscription, ends: dict[int, Event], scope: trio.CancelScope
    ) -> None:
        async for value in lines:
            event = ends.pop(value["ack"])
            await events.ack(event)
            with suppress(PeerGone):
                await lines.send({"acked": event.seq})
        scope.cancel()


_OPERATIONS: dict[str, Any] = {
    "submit": Service._submit,
    "cancel": Service._cancel,
    "status": Service._status,
}


def _is_end(event: Event) -> bool:
    return event.type in RUN_TERMINAL_TYPES


async def main(root: Path, token: str) -> None:
    """Serve until told to stop, or until the story has gone."""
    configure_logging()
    story = standard_streams()
    places = Places(root)
    places.scratch.mkdir(exist_ok=True)
    work = Programs(places, token)
    limits = SupervisorLimits(drain_seconds=5.0)
    async with (
        work.process,
        open_supervisor(JournalStore(places.journal), work, limits=limits) as supervisor,
        trio.open_nursery() as nursery,
    ):
        sessions = {id: await supervisor.session(id, slots=SLOTS) for id in SESSIONS}
        listener = await _listen_on(places.socket)
        service = Service(supervisor, sessions, work)
        nursery.start_soon(trio.serve_listeners, service.serve, [listener])
        nursery.start_soon(_tell_of_first, story, work)
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        await story.send({"ready": os.getpid()})
        async for _ in story:
            break  # any line, or the end of the pipe, means stop
        nursery.cancel_scope.cancel()
    work.close()


async def _tell_of_first(story: Lines, work: Programs) -> None:
    await work.first_started.wait()
    with suppress(PeerGone):
        await story.send({"first_started": True})


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


async def _listen_on(path: Path) -> trio.SocketListener:
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - what the killed one left
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await socket.bind(str(path))
    socket.listen()
    return trio.SocketListener(socket)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
