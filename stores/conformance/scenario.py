"""What the checks are written with: records to write, an author who writes them, and requirements.

Nothing here depends on the wall clock or on chance. Waits are bounded by ``PATIENCE_SECONDS`` on
trio's clock, so that a store that hangs fails instead; a store that passes never takes that long.
News must come within ``NEWS_SECONDS_MAX``, and comes within milliseconds; for how long a machine
stands still meanwhile is not counted.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import AdmissionClosed, MoorageError
from moorage.runtime.ports import Claim, Record, Store, StoreReader
from moorage.runtime.sessions import SessionInfo, SessionState

from ..faults import Fault

if TYPE_CHECKING:
    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.events import Data, Event

OpenStore = Callable[[], Store]
"""Gives a store object over one content, which was empty before the first call; each call gives
another object over the same content, as the next process, or one beside it, would make it."""

Check = Callable[[OpenStore], Awaitable[None]]


@attrs.frozen
class Content:
    """An OpenStore that offers more, so that more can be checked. What is None is not.

    ``after_crash`` gives an OpenStore over what would be found if the power failed now, while a
    store over this content is open: best with all that was not synced lost. ``fail_next`` makes
    the next append fail: with Fault.NOT_WRITTEN as on a full disk, with Fault.POISON as when a
    sync fails.
    """

    open_store: OpenStore
    after_crash: Callable[[], OpenStore] | None = None
    fail_next: Callable[[Fault], None] | None = None

    def __call__(self) -> Store:
        return self.open_store()

    @classmethod
    def of(cls, open_store: OpenStore) -> Content:
        return open_store if isinstance(open_store, Content) else cls(open_store)


PATIENCE_SECONDS = 60.0
NEWS_SECONDS_MAX = 2.0
"""Later is not soon after."""
TICK_SECONDS = 0.1
STILL_SECONDS_MAX = 20.0
"""A machine that stands still for longer is a store that does."""
HINTS_MAX = 2_000
"""Early returns of wait_news that one task puts up with."""
_TURNS = 20
OWNER = "the conformance suite"
START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000


class Nonconformance(AssertionError):
    """The store broke a rule of the port; the message says which and how."""


def require(condition: object, message: str) -> None:
    if not condition:
        raise Nonconformance(message)


def require_equal(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise Nonconformance(f"{what}: expected {_short(expected)}, got {_short(actual)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"


def check(function: Check) -> Check:
    """Make every failure of a check a bare Nonconformance that starts with the rule."""

    @functools.wraps(function)
    async def checked(open_store: OpenStore) -> None:
        rule = " ".join((function.__doc__ or "").split())
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                await function(open_store)
        except (Exception, BaseExceptionGroup) as error:
            problem = _innermost(error)
            if not isinstance(problem, Exception):
                raise
            if isinstance(problem, trio.TooSlowError):
                text = f"nothing happened for {PATIENCE_SECONDS:.0f} seconds"
            elif isinstance(problem, Nonconformance):
                text = str(problem)
            else:
                text = f"raised {problem!r}"
            raise Nonconformance(f"{function.__name__}: {text}. The rule: {rule}") from problem

    return checked


def _innermost(error: BaseException) -> BaseException:
    """The exception that says most: what a check found, rather than what it led to."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_innermost(inner) for inner in error.exceptions]
    found.sort(
        key=lambda inner: (not isinstance(inner, Nonconformance), isinstance(inner, Exception))
    )
    return found[0]


async def refuse(session_id: str, command: Command, letter: str | None = None) -> Answer:
    raise AdmissionClosed(f"session {session_id!r}", reason="run by the conformance suite")


@contextlib.asynccontextmanager
async def opened(open_store: OpenStore) -> AsyncGenerator[Store]:
    """The store, open for writing; once more for what a restart would see."""
    store = open_store()
    async with store.opened(owner=OWNER, deliver=refuse):
        yield store


def note(
    number: int,
    type: str = "message_sent",
    run_id: str | None = None,
    *,
    key: str | None = None,
    data: Data = None,
    metadata: dict[str, Any] | None = None,
) -> Record:
    """A record that says its number, ``STEP_NS`` later than the one before."""
    return encode_event(
        START_NS + number * STEP_NS,
        type,
        run_id,
        {"number": number} if data is None else data,
        metadata,
        key=key,
    )


def notes(first: int, last: int) -> list[Record]:
    return [note(number) for number in range(first, last + 1)]


def facts(session_id: str, **changes: Any) -> SessionInfo:
    """An info of which the store sets head_seq and modified_at_ns itself."""
    values: dict[str, Any] = {
        "state": SessionState.OPEN,
        "tags": {},
        "metadata": {},
        "created_at_ns": START_NS,
        "modified_at_ns": START_NS,
        "head_seq": 0,
        "runs": {},
    }
    return SessionInfo(session_id, **{**values, **changes})


async def let_it_wait() -> None:
    """Let tasks that were started wait: after so many turns of the loop they surely do, or have
    returned early, which is allowed: then a check shows less, but never something false."""
    for _ in range(_TURNS):
        await trio.lowlevel.checkpoint()


class Stopwatch:
    """How late news came, in seconds in which the store answered: a machine, or a server, that
    stands still for a while makes no news late; a store that does so for longer than
    ``STILL_SECONDS_MAX`` does. ``stopwatch`` gives one that goes."""

    def __init__(self) -> None:
        self._ticks = 0
        self._ticked = trio.Event()
        self._since: dict[object, int] = {}

    async def run(self, reader: StoreReader | None) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            begun_at = trio.current_time()
            if reader is not None:
                await reader.info("a")
            still_seconds = trio.current_time() - begun_at
            counts = still_seconds > STILL_SECONDS_MAX
            self._ticks += round(still_seconds / TICK_SECONDS) if counts else 1
            self._ticked.set()
            self._ticked = trio.Event()

    def start(self, news: object) -> None:
        """It came up now."""
        self._since[news] = self._ticks

    def late(self, news: object) -> float:
        """How long ago it came up; who sees it before it was started is quick enough."""
        return (self._ticks - self._since.get(news, self._ticks)) * TICK_SECONDS

    async def until_late(self, news: object) -> None:
        while self.late(news) <= NEWS_SECONDS_MAX:
            await self._ticked.wait()

    def check(self, news: object) -> None:
        """Require that it came up just now."""
        late = self.late(news)
        require(
            late <= NEWS_SECONDS_MAX,
            f"wait_news returned {late:.1f} seconds after the news, {NEWS_SECONDS_MAX} are allowed",
        )


@contextlib.asynccontextmanager
async def stopwatch(store: Store | None = None) -> AsyncGenerator[Stopwatch]:
    """One that goes while the block lasts. It asks a reader of its own: what one learns when asked
    must not be news to those who wait. Without ``store`` it asks nobody."""
    watch = Stopwatch()
    async with contextlib.AsyncExitStack() as stack:
        reader = None if store is None else await stack.enter_async_context(store.reading())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run, reader)
            yield watch
            nursery.cancel_scope.cancel()


async def comes_soon(store: Store, wait: Callable[[], Awaitable[object]]) -> bool:
    """Whether ``wait`` returns within ``NEWS_SECONDS_MAX`` from now."""
    came = False
    async with stopwatch(store) as watch, trio.open_nursery() as nursery:

        async def await_it() -> None:
            nonlocal came
            await wait()
            came = True
            nursery.cancel_scope.cancel()

        watch.start("it")
        nursery.start_soon(await_it)
        await watch.until_late("it")
        nursery.cancel_scope.cancel()
    return came


class Follower:
    """Waits for news of one session, but not for ever: a hint may come early, not all the time."""

    def __init__(self, reader: StoreReader, session_id: str) -> None:
        self.reader = reader
        self.session_id = session_id
        self._turns_left = HINTS_MAX

    async def wait(self, after: int, run_id: str | None = None) -> None:
        self._turns_left -= 1
        require(
            self._turns_left > 0, f"wait_news returned {HINTS_MAX} times without what it waits for"
        )
        await self.reader.wait_news(self.session_id, after=after, run_id=run_id)


class Author:
    """Owns a session and writes to it, continuing at its head."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.head_seq = claim.head_seq
        self._exists = claim.info is not None

    @classmethod
    async def of(cls, store: Store, session_id: str) -> Author:
        return cls(store, await store.claim(session_id))

    async def write(self, *records: Record, info: SessionInfo | None = None) -> None:
        if info is None and not self._exists:
            info = facts(self.claim.session_id)
        await self.store.append(
            self.claim, expected_seq=self.head_seq + 1, records=records, info=info
        )
        self.head_seq += len(records)
        self._exists = True


async def read_all(
    reader: StoreReader,
    session_id: str,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int = 1_000,
    types: frozenset[str] | None = None,
    run_id: str | None = None,
    backwards: bool = False,
) -> list[Event]:
    """Read a whole range page by page, as the docstring of Page says, holding it to that."""
    found: list[Event] = []
    for _ in range(100_000):
        page = await reader.read(
            session_id,
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )
        require(len(page.events) <= limit, f"a page has {len(page.events)} events at limit {limit}")
        seqs = [event.seq for event in page.events]
        require(seqs == sorted(set(seqs)), f"a page is not ascending: {seqs[:20]}")
        if backwards:
            found = page.events + found
            if page.scanned_to <= max(page.oldest_seq, after + 1):
                return found
            require(
                before is None or page.scanned_to < before,
                f"backwards from {before}: scanned_to stays at {page.scanned_to}",
            )
            before = page.scanned_to
        else:
            found += page.events
            if page.scanned_to >= page.head_seq or page.scanned_to + 1 >= (before or 2**62):
                return found
            require(page.scanned_to > after, f"after {after}: scanned_to stays there")
            after = page.scanned_to
    raise Nonconformance("reading never comes to an end")


async def numbers(reader: StoreReader, session_id: str, *, after: int = 0) -> list[tuple[int, int]]:
    """(seq, number) of every event behind ``after``."""
    events = await read_all(reader, session_id, after=after)
    return [(event.seq, event.data["number"]) for event in events]


async def require_refused(
    kind: type[MoorageError], what: str, function: Callable[[], Awaitable[object]]
) -> MoorageError:
    """Require that calling ``function`` raises ``kind``; returns the error."""
    try:
        await function()
    except kind as error:
        return error
    raise Nonconformance(f"{what} did not raise {kind.__name__}")


async def listed(infos: AsyncIterator[SessionInfo]) -> list[str]:
    return [info.id async for info in infos]
