"""The client of the demo: submits, cancels, follows, writes down what was acknowledged, checks.

``python -m moorage.adapters.gateways.demo.client DIRECTORY``

The story tells it on standard input when to ``finish`` (submit nothing more) and, once the service
has stopped, to ``check``; it tells the story how far it is.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import trio
from moorage.runtime.events import RUN_TERMINAL_TYPES

from .checker import check_directory
from .places import Places
from .programs import SESSIONS, input_of
from .record import RecordWriter, digest_of
from .wire import Lines, PeerGone, connect, standard_streams

UNFINISHED_MAX = 6
"""Runs of a session that this client has under way: two in slots, the rest queued."""
CANCEL_EVERY = 5
CURSOR = "auditor"
RECONNECT_SECONDS = 0.02
REPORT_SECONDS = 0.2


class Connection:
    """Requests and their answers over one connection that is renewed when the service dies."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._ids = itertools.count()
        self._lines: Lines | None = None
        self._turn = trio.Lock()

    async def ask(self, **request: Any) -> dict[str, Any]:
        """The answer. Raises PeerGone if the service died before it came: outcome unknown."""
        async with self._turn:
            if self._lines is None:
                self._lines = await connect_patiently(self._path)
            number = next(self._ids)
            try:
                await self._lines.send({"id": number, **request})
                answer: dict[str, Any] = await self._lines.receive()
            except PeerGone:
                await self.aclose()
                raise
        if "error" in answer:
            raise RuntimeError(f"{request['op']} was refused: {answer['message']}")
        return answer

    async def aclose(self) -> None:
        """Let it go; asking again makes another one."""
        lines, self._lines = self._lines, None
        if lines is not None:
            await lines.aclose()


async def connect_patiently(path: str) -> Lines:
    while True:
        try:
            return await connect(path)
        except PeerGone:
            await trio.sleep(RECONNECT_SECONDS)


class Client:
    """One record, and one task per session and direction that adds to it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.record = RecordWriter(places.record)
        self.finishing = False
        self.counts = dict.fromkeys(
            ("accepted", "cancelled", "retried", "ended", "events", "acked", "redelivered"), 0
        )
        self._unfinished: dict[str, set[str]] = {session_id: set() for session_id in SESSIONS}
        self._ended_early: set[str] = set()
        self._seen: dict[str, int] = dict.fromkeys(SESSIONS, 0)
        self._room = {session_id: trio.Event() for session_id in SESSIONS}
        self.submitted_all = dict.fromkeys(SESSIONS, False)
        self.acks_open = dict.fromkeys(SESSIONS, 0)

    def finish(self) -> None:
        self.finishing = True
        for event in self._room.values():
            event.set()

    @property
    def done(self) -> bool:
        """Whether everything that was accepted has ended and been acknowledged."""
        return all(self.submitted_all.values()) and not (
            any(self._unfinished.values()) or any(self.acks_open.values())
        )

    async def submit_all(self, session_id: str) -> None:
        connection = Connection(str(self.places.socket))
        try:
            await self._submit_until_finishing(connection, session_id)
        finally:
            await connection.aclose()

    async def _submit_until_finishing(self, connection: Connection, session_id: str) -> None:
        number = 0
        while not self.finishing:
            if len(self._unfinished[session_id]) >= UNFINISHED_MAX:
                self._room[session_id] = trio.Event()
                await self._room[session_id].wait()
                continue
            run_id = await self._submit(connection, session_id, number)
            number += 1
            if number % CANCEL_EVERY == 0 and len(self._unfinished[session_id]) == UNFINISHED_MAX:
                await self._cancel(connection, session_id, run_id)
        self.submitted_all[session_id] = True

    async def _submit(self, connection: Connection, session_id: str, number: int) -> str:
        on_interrupt = "requeue" if number % 2 else "fail"
        key = f"{session_id}-{number}"
        while True:
            try:
                answer = await connection.ask(
                    op="submit",
                    session=session_id,
                    input=input_of(session_id, number),
                    key=key,
                    on_interrupt=on_interrupt,
                )
                break
            except PeerGone:
                self.counts["retried"] += 1  # outcome unknown: again, with the same key
        run_id: str = answer["run_id"]
        self.record.write(
            {
                "what": "accepted",
                "session": session_id,
                "run_id": run_id,
                "key": key,
                "on_interrupt": on_interrupt,
            }
        )
        self.counts["accepted"] += 1
        if run_id in self._ended_early:
            self._ended_early.discard(run_id)
        else:
            self._unfinished[session_id].add(run_id)
        return run_id

    async def _cancel(self, connection: Connection, session_id: str, run_id: str) -> None:
        while True:
            try:
                answer = await connection.ask(op="cancel", session=session_id, run_id=run_id)
                break
            except PeerGone:
                continue
        self.record.write({"what": "cancelled", "run_id": run_id, "took": answer["took"]})
        self.counts["cancelled"] += answer["took"]

    async def follow(self, session_id: str) -> None:
        while True:
            lines = await connect_patiently(str(self.places.socket))
            try:
                await lines.send({"op": "follow", "session": session_id, "name": CURSOR})
                self.record.write({"what": "connected", "session": session_id})
                self.acks_open[session_id] = 0
                while True:
                    await self._receive(lines, session_id)
            except PeerGone:
                pass  # the service died: it will be back
            finally:
                await lines.aclose()

    async def _receive(self, lines: Lines, session_id: str) -> None:
        value = await lines.receive()
        if "acked" in value:
            self.record.write({"what": "acked", "session": session_id, "seq": value["acked"]})
            self.counts["acked"] += 1
            self.acks_open[session_id] -= 1
            return
        self.record.write(
            *(
                {
                    "what": "event",
                    "session": session_id,
                    "seq": event["seq"],
                    "digest": digest_of(event),
                }
                for event in value["events"]
            )
        )
        for event in value["events"]:
            self._note(session_id, event)
        # a run's end is what this subscriber acknowledges: all before it is done with
        for event in value["events"]:
            if event["type"] in RUN_TERMINAL_TYPES:
                self.record.write({"what": "ack_sent", "session": session_id, "seq": event["seq"]})
                self.acks_open[session_id] += 1
                await lines.send({"ack": event["seq"]})

    def _note(self, session_id: str, event: dict[str, Any]) -> None:
        if event["seq"] <= self._seen[session_id]:
            self.counts["redelivered"] += 1
            return
        self._seen[session_id] = event["seq"]
        self.counts["events"] += 1
        if event["type"] in RUN_TERMINAL_TYPES:
            self.counts["ended"] += 1
            run_id = event["run_id"]
            if run_id in self._unfinished[session_id]:
                self._unfinished[session_id].discard(run_id)
            else:
                self._ended_early.add(run_id)
            self._room[session_id].set()


async def main(root: Path) -> None:
    """Work until the story says ``finish``, then wait for ``check``, and report the findings."""
    story = standard_streams()
    client = Client(Places(root))
    async with trio.open_nursery() as nursery:
        for session_id in SESSIONS:
            nursery.start_soon(client.submit_all, session_id)
            nursery.start_soon(client.follow, session_id)
        nursery.start_soon(_report, story, client)
        async for order in story:
            if order == "finish":
                client.finish()
            elif order == "check":
                break
        else:
            nursery.cancel_scope.cancel()
            return
        nursery.cancel_scope.cancel()
    client.record.close()
    findings = await check_directory(root)
    await story.send({"findings": [finding.to_json() for finding in findings]})


async def _report(story: Lines, client: Client) -> None:
    while True:
        await story.send({"counts": client.counts, "done": client.finishing and client.done})
        await trio.sleep(REPORT_SECONDS)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
