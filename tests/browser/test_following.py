"""Two hundred sessions followed at once, while the server is killed and started again ten times."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from moorage.adapters.gateways.http_client import ClientLimits, connect
from moorage.runtime import open_reader
from moorage.runtime.reversible_json import event_to_json
from moorage.stores import JournalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

pytestmark = pytest.mark.browser

KILLS = 10
SESSIONS = tuple(f"session-{number:03}" for number in range(200))
HOSTS = 40
"""A browser opens six connections to a name over HTTP/1.1, and these five sessions of each."""
AT_ONCE = 8
PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 120
LOOK_MILLISECONDS = 100
LIMITS = ClientLimits(backoff_seconds_max=0.5)
ATTEMPT = re.compile(r" of attempt (\d+) ")
"""What an agent says has the attempt of its run in it: each start of the server is one."""
PAGE = Path(__file__).with_name("following.html")
SERVICE = Path(__file__).with_name("following_service.py")


@contextmanager
def page_served() -> Iterator[str]:
    """The origin of a web server that has nothing but the page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = PAGE.read_bytes() if self.path == "/" else b""
            self.send_response(200 if content else 404)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Server:
    """The service, which is killed and started again at the same address."""

    def __init__(self, directory: Path, origin: str) -> None:
        self._arguments = [str(directory), origin]
        self.address = "http://127.0.0.1:0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        directory, origin = self._arguments
        bind = self.address.removeprefix("http://")
        self._process = subprocess.Popen(
            [sys.executable, str(SERVICE), directory, bind, origin],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        told = self._process.stdout.readline().strip()
        if not told.startswith("http://"):
            self.end()
            pytest.fail(f"the server said {told!r} instead of its address")
        self.address = told

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        with self._process as process:
            assert process.poll() is None, "it ended by itself"
            process.send_signal(number)
        self._process = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end()


class ClientFollower:
    """Follows some of the sessions with Moorage's own client, in a thread and a loop of its own."""

    def __init__(self, address: str, sessions: tuple[str, ...], backend: str) -> None:
        self.got: dict[str, list[Any]] = {session_id: [] for session_id in sessions}
        self._attempts = dict.fromkeys(sessions, 0)
        self._address = address
        self._left = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(backend,))

    def live(self, attempt: int) -> int:
        """How many sessions have given something of this attempt."""
        return sum(seen == attempt for seen in self._attempts.values())

    def __enter__(self) -> ClientFollower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def join(self) -> None:
        """Wait until all sessions have ended. Raises what the following did."""
        self._thread.join()
        if self._failed:
            raise self._failed.pop()

    def _run(self, backend: str) -> None:
        try:
            anyio.run(self._follow_all, backend=backend)
        except BaseException as error:
            self._failed.append(error)

    async def _follow_all(self) -> None:
        async with (
            connect(self._address, limits=LIMITS) as client,
            anyio.create_task_group() as outer,
        ):
            outer.start_soon(self._leave, outer.cancel_scope)
            async with anyio.create_task_group() as tasks:
                for session_id in self.got:
                    tasks.start_soon(self._follow, client.handle(session_id))
            outer.cancel_scope.cancel()

    async def _follow(self, session: Any) -> None:
        async with session.subscribe() as events:
            async for event in events:
                self.got[session.id].append(event_to_json(event))
                if event.type == "message_streamed":
                    self._attempts[session.id] = int(ATTEMPT.findall(event.data["delta"])[0])

    async def _leave(self, scope: anyio.CancelScope) -> None:
        while not self._left.is_set():
            await anyio.sleep(LOOK_MILLISECONDS / 1_000)
        scope.cancel()


def in_thread(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What ``work`` returns under trio: this thread has the loop that talks to the browser."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(trio.run, work).result()


async def for_every_session(
    address: str,
    work: Callable[[Any], Coroutine[Any, Any, Any]],
    session_ids: tuple[str, ...] = SESSIONS,
) -> None:
    async with connect(address) as client, trio.open_nursery() as nursery:

        async def one_after_the_other(sessions: tuple[str, ...]) -> None:
            for session_id in sessions:
                await work(await client.session(session_id))

        for start in range(AT_ONCE):
            nursery.start_soon(one_after_the_other, session_ids[start::AT_ONCE])


async def begin(session: Any) -> None:
    """Submit a run that talks until it is cancelled.

    Every tenth goes on as it began, so that whenever the server is killed it is sending something;
    the others have more and more to think about, or a slow machine would be given more to do.
    """
    plan = {"pause_seconds": PAUSE_SECONDS, "growth": 1.0 if session.id.endswith("0") else 1.5}
    await session.submit(plan, on_interrupt="requeue", attempts_max=1_000)


async def close(session: Any) -> None:
    await session.close(force=True)


async def logs(
    directory: Path, session_ids: tuple[str, ...] = SESSIONS
) -> dict[str, list[dict[str, Any]]]:
    """What the store has of each session."""
    async with open_reader(JournalStore(directory)) as reader:
        return {
            session_id: [
                event_to_json(event)
                for event in await reader.session(session_id).events(limit=10_000)
            ]
            for session_id in session_ids
        }


def wait_until(page: Any, what: str, condition: Callable[[], bool]) -> None:
    """Look again and again, letting the browser's events in meanwhile."""
    for _ in range(PATIENCE_SECONDS * 1_000 // LOOK_MILLISECONDS):
        if condition():
            return
        page.wait_for_timeout(LOOK_MILLISECONDS)
    pytest.fail(f"waited too long for this: {what}")


def test_a_browser_and_a_client_get_every_event_once_over_ten_kills(
    page: Any, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        origin = stack.enter_context(page_served())
        server = stack.enter_context(Server(tmp_path / "data", origin))
        address = server.address
        in_thread(partial(for_every_session, address, begin))
        clients = [
            stack.enter_context(ClientFollower(address, SESSIONS[start::2], backend))
            for start, backend in enumerate(("trio", "asyncio"))
        ]
        page.goto(origin)
        port = address.rpartition(":")[2]
        urls = {
            session_id: f"http://s{number % HOSTS}.localhost:{port}/v1/sessions/{session_id}/events"
            for number, session_id in enumerate(SESSIONS)
        }
        page.evaluate("urls => Object.entries(urls).forEach(([id, url]) => follow(id, url))", urls)

        def all_live(attempt: int) -> bool:
            in_clients = sum(client.live(attempt) for client in clients)
            return in_clients == page.evaluate("live", attempt) == len(SESSIONS)

        for kill in range(1, KILLS + 1):
            wait_until(page, f"all streams before kill {kill}", partial(all_live, kill))
            server.end()
            server.start()
        wait_until(page, "all streams behind the last kill", partial(all_live, KILLS + 1))
        in_thread(partial(for_every_session, address, close))
        wait_until(
            page,
            "every EventSource has been told not to come back",
            lambda: page.evaluate("closed()") == len(SESSIONS),
        )
        for client in clients:
            client.join()
        followed = page.evaluate("told()")
    expected = in_thread(partial(logs, tmp_path / "data"))

    by_client = {session_id: got for client in clients for session_id, got in client.got.items()}
    for session_id in SESSIONS:
        log, seen = expected[session_id], followed[session_id]
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        assert by_client[session_id] == log
        assert [json.loads(data) for _, data in seen["got"]] == log
        assert [int(id) for id, _ in seen["got"]] == list(range(1, len(log) + 1))
        assert seen["ended"] == "session_closed"
        # every kill has cut this stream, and it was opened again behind each
        assert seen["cuts"] > KILLS
        assert seen["opened"] > KILLS
        types = [event["type"] for event in log]
        assert types.count("run_requeued") == KILLS
        assert types.count("message_streamed") > KILLS


def test_a_browser_comes_back_to_a_server_that_was_asked_to_end(page: Any, tmp_path: Path) -> None:
    (session_id,) = one = SESSIONS[:1]
    with page_served() as origin, Server(tmp_path / "data", origin) as server:
        in_thread(partial(for_every_session, server.address, begin, one))
        page.goto(origin)
        url = f"{server.address}/v1/sessions/{session_id}/events"
        page.evaluate("([id, url]) => follow(id, url)", [session_id, url])
        for start in (1, 2):
            live = partial(page.evaluate, "live", start)
            wait_until(page, f"the stream of start {start}", lambda: live() == 1)  # noqa: B023
            server.end(signal.SIGTERM)
            server.start()
        in_thread(partial(for_every_session, server.address, close, one))
        wait_until(page, "the end", lambda: page.evaluate("closed()") == 1)
        followed = page.evaluate("told()")[session_id]
    log = in_thread(partial(logs, tmp_path / "data", one))[session_id]

    assert [json.loads(data) for _, data in followed["got"]] == log
    assert followed["cuts"] > 2
