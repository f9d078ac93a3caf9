"""A node of the cluster that ``failover.py`` torments.

    python failover_node.py DSN SCHEMA LEASE_SECONDS

Requests come as lines of JSON on its standard input, each with an ``id``, and are answered as lines
on its standard output in whatever order they are done; what a follower is given comes in between.
It serves until its input ends.
"""

from __future__ import annotations

import json
import os
import sys

import structlog
import trio
from moorage.runtime import MoorageError, StoreFailed, SupervisorLimits, open_supervisor
from moorage.runtime.runs import approval_request
from moorage.stores import PostgresStore

LIMITS = SupervisorLimits(idle_seconds=4.0, drain_seconds=3.0, runs_queued_max=10_000)
STEP_SECONDS = 0.1
OPEN_AGAIN_SECONDS = 0.2
TOOL = "tool"
ANSWER_SECONDS_MAX = 20.0
"""Then a run that asks goes on without an answer."""
LINE_BYTES = 65_536


async def agent(request, context):
    """Works for as many steps as its input says, and listens meanwhile."""
    spec = request.input if isinstance(request.input, dict) else {"steps": 1}
    told = {"attempt": request.attempt}
    if spec.get("asks"):
        _, name = approval_request(context.run_id, TOOL)
        value = await context.park(name, timeout_seconds=ANSWER_SECONDS_MAX)
        told["answer"] = None if value is None else value["by"]
    context.accept_steers()
    for step in range(spec["steps"]):
        await context.emit("message_streamed", {"delta": f"{request.attempt}.{step}"})
        for steer in context.take_steers():
            message = {"role": "user", "content": steer.message, "steer_id": steer.id}
            await context.emit("message_sent", message)
        await trio.sleep(STEP_SECONDS)
    if spec.get("fails"):
        raise ValueError("as it was told to")
    return told


class Service:
    """What requests ask for, by the name of what they want done."""

    def __init__(self, supervisor, output):
        self._supervisor = supervisor
        self._output = output
        self._speaking = trio.Lock()
        self._followers = {}

    async def tell(self, **facts):
        async with self._speaking:
            await self._output.send_all(json.dumps(facts).encode() + b"\n")

    async def perform(self, request):
        try:
            answer = await getattr(self, "do_" + request["do"])(request)
        except MoorageError as error:
            unknown = isinstance(error, StoreFailed) and error.written is not False
            await self.tell(
                id=request["id"], error=type(error).__name__, text=str(error), unknown=unknown
            )
        else:
            await self.tell(id=request["id"], answer=answer)

    async def do_open(self, request):
        session = await self._supervisor.session(request["session"], slots=2)
        return session.id

    def _session(self, request):
        return self._supervisor.handle(request["session"])

    async def do_submit(self, request):
        session = self._session(request)
        run = await session.submit(
            request["input"], key=request["key"], on_interrupt="requeue", attempts_max=1_000
        )
        return run.id

    async def do_append(self, request):
        event = await self._session(request).append("note", {"token": request["token"]})
        return event.seq

    async def do_cancel(self, request):
        return await self._session(request).cancel(request["run"])

    async def do_approve(self, request):
        request_id, _ = approval_request(request["run"], TOOL)
        return await self._session(request).approve(request_id, by=request["token"])

    async def do_steer(self, request):
        session = self._session(request)
        steer = await session.steer(request["run"], request["token"], key=request["token"])
        return steer.steer_id

    async def do_wait(self, request):
        outcome = await self._session(request).wait(request["run"])
        return outcome.state.value

    async def do_follow(self, request):
        scope = self._followers[request["follower"]] = trio.CancelScope()
        session = self._session(request)
        with scope:
            async with session.subscribe(after=0, name="follower") as events:
                async for batch in events.batches():
                    told = [[event.seq, event.type, event.run_id] for event in batch]
                    await self.tell(follower=request["follower"], events=told)
                    await events.ack(batch[-1])
        return "over"

    async def do_unfollow(self, request):
        scope = self._followers.pop(request["follower"], None)
        if scope is not None:
            scope.cancel()
        return "over"


async def lines(stream):
    rest = b""
    while chunk := await stream.receive_some(LINE_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


async def serve(dsn, schema, lease_seconds):
    store = PostgresStore(dsn, schema=schema, lease_seconds=float(lease_seconds))
    output = trio.lowlevel.FdStream(os.dup(1))
    opened = False
    while not opened:
        try:
            async with open_supervisor(store, agent, limits=LIMITS) as supervisor:
                opened = True
                service = Service(supervisor, output)
                await service.tell(ready=True)
                async with trio.open_nursery() as nursery:
                    async for line in lines(trio.lowlevel.FdStream(os.dup(0))):
                        nursery.start_soon(service.perform, json.loads(line))
                    nursery.cancel_scope.cancel()
        except StoreFailed:
            if opened:
                raise
            await trio.sleep(OPEN_AGAIN_SECONDS)  # there is no database now


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(serve, *sys.argv[1:4])
