"""A poster without a network, and a dispatcher over it, for tests by any clock."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.webhooks import WebhookDispatcher, WebhookFile, WebhookLimits
from moorage.adapters.sinks.webhook import AddressRules, PostLimits
from moorage.adapters.sinks.webhook.posting import Posted
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URL = "https://hook.test/a"
TAKEN = Posted(verdict="taken", status=204)
REFUSED = Posted(verdict="later", status=500, error="answered 500")
NEVER = Posted(verdict="never", status=422, error="answered 422")
GONE = Posted(verdict="gone", status=410, error="answered 410")


@attrs.frozen
class Sent:
    """One attempt to post."""

    at: float
    url: str
    id: str
    told: Any
    keys: list[str] = attrs.field(factory=list)

    @property
    def session_id(self) -> str:
        return str(self.told["data"]["session_id"])

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.told["data"]["events"]]


class PostOffice:
    """Takes what is posted; ``answer`` (sent -> Posted, may be async) decides otherwise."""

    def __init__(self, answer: Any = None, limits: PostLimits | None = None) -> None:
        self.rules = AddressRules()
        self.limits = limits or PostLimits(batch_events_max=2)
        self.answer = answer or (lambda sent: TAKEN)
        self.sent: list[Sent] = []
        self.taken: list[Sent] = []
        self.at_once = 0
        self.at_once_max = 0
        self.news = trio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        yield

    async def post(self, url: str, secrets: Any, message: Any) -> Posted:
        told = json.loads(message.body)
        sent = Sent(trio.current_time(), url, message.id, told, list(secrets))
        self.sent.append(sent)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await trio.lowlevel.checkpoint()
            answer = self.answer(sent)
            posted: Posted = answer if isinstance(answer, Posted) else await answer
        finally:
            self.at_once -= 1
        if posted.verdict == "taken":
            self.taken.append(sent)
        self.news.set()
        self.news = trio.Event()
        return posted

    async def wait_taken(self, *seqs: int, session_id: str = "a") -> None:
        """Return when exactly these were taken of a session, in this order."""
        with trio.fail_after(1e6):
            while self.seqs(session_id) != list(seqs):
                await self.news.wait()

    async def wait_sent(self, count: int) -> None:
        with trio.fail_after(1e6):
            while len(self.sent) < count:
                await self.news.wait()

    def seqs(self, session_id: str = "a", url: str | None = None) -> list[int]:
        """What was taken of a session, in the order in which it came."""
        return [
            seq
            for sent in self.taken
            if sent.session_id == session_id and url in (None, sent.url)
            for seq in sent.seqs
        ]


async def inline(function: Any, *args: Any) -> Any:
    """Instead of a thread, which the virtual clock would not wait for."""
    await trio.lowlevel.checkpoint()
    return function(*args)


class Office:
    """A supervisor whose webhooks are delivered to a post office."""

    def __init__(self, supervisor: Any, file: WebhookFile, post: PostOffice, clock: Any) -> None:
        self.supervisor = supervisor
        self.file = file
        self.post = post
        self.clock = clock
        self.dispatcher: Any = None

    def register(self, **fields: Any) -> Any:
        webhook, _ = self.file.add(fields.pop("url", URL), created_at_ns=self.clock(), **fields)
        if self.dispatcher is not None:
            self.dispatcher.poke()
        return webhook

    async def notes(self, session_id: str, count: int, type: str = "note") -> None:
        """Events of a session, which is made if need be; its first is that it was opened."""
        session = await self.supervisor.session(session_id)
        for number in range(count):
            await session.append(type, {"number": number})

    def letters(self, webhook: Any) -> Any:
        return self.file.dead_letters(webhook.id).letters()

    @asynccontextmanager
    async def delivering(self, **limits: Any) -> AsyncIterator[None]:
        self.dispatcher = WebhookDispatcher(
            self.supervisor,
            self.file,
            limits=WebhookLimits(**limits),
            poster=self.post,
            in_thread=inline,
            time_ns=self.clock,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.dispatcher.run)
            yield
            self.dispatcher.end()


@asynccontextmanager
async def opened_office(
    directory: Any,
    answer: Any = None,
    *,
    store: Any = None,
    post_limits: Any = None,
    agent: Any = None,
) -> AsyncIterator[Office]:
    def clock() -> int:
        return 1_700_000_000_000_000_000 + int(trio.current_time() * 1e9)

    post = PostOffice(answer, post_limits)
    async with open_supervisor(
        store or MemoryStore(),
        agent or ScriptedAgent(),
        limits=SupervisorLimits(drain_seconds=0),
        time_ns=clock,
    ) as supervisor:
        yield Office(supervisor, WebhookFile(directory / "webhooks.json"), post, clock)
