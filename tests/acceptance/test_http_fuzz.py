"""Whatever is sent to where events are read, over bare sockets, is answered, and changes nothing.

Lines of requests, headers, cursors and filters that are right, nearly right and wrong, in any
mixture; several requests at once; requests that end in the middle; readers that are slow, and
readers that leave. Every answer has to be a page, a stream that is what was asked for, or a problem
document; what is no HTTP gets an empty 400 and the end of the connection. Nothing may take for
ever, no answer may be a failure of the server's, and behind each example the next ordinary request
is answered, and finds every session as it was.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moorage.adapters.gateways.http import HttpLimits, serve
from moorage.runtime import RunContext, RunRequest, SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.gateways.http.asgi_client import sse_events

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 120
EXAMPLES_MIN = 200
"""With HYPOTHESIS_PROFILE=search there are more, and others each time."""
CLOSED, OPEN, TRIMMED = "closed", "open", "trimmed"
"""Sessions: one whose streams end, one whose streams do not, one that has lost its beginning."""
HEADS = {CLOSED: 42, OPEN: 21, TRIMMED: 32}
OLDEST = {CLOSED: 1, OPEN: 1, TRIMMED: 11}
LIMITS = HttpLimits(
    requests_per_second_max=1e6,
    requests_burst_max=10**6,
    heartbeat_seconds=0.1,
    body_seconds_max=0.2,
    idle_connection_seconds=5.0,
    send_buffer_bytes=4_096,
)


def run_server(told: queue.Queue[tuple[str, Any]]) -> None:
    async def agent(request: RunRequest, context: RunContext) -> object:
        return None

    async def main() -> None:
        async with open_supervisor(
            MemoryStore(), agent, limits=SupervisorLimits(drain_seconds=0)
        ) as supervisor:
            for session_id, notes in ((CLOSED, 40), (OPEN, 20), (TRIMMED, 30)):
                session = await supervisor.session(session_id)
                for number in range(notes):
                    kind = "odd" if number % 2 else "even"
                    await session.append(kind, {"text": "ü\n\n" * 100 * (number % 5)})
            await supervisor.handle(TRIMMED).close()
            await supervisor.handle(TRIMMED).trim(before=OLDEST[TRIMMED])
            await supervisor.handle(CLOSED).close()
            ending = trio.Event()
            token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                serving = partial(
                    serve, supervisor, "127.0.0.1:0", limits=LIMITS, shutdown=ending.wait
                )
                address = await nursery.start(serving)
                told.put((address, partial(token.run_sync_soon, ending.set)))

    trio.run(main)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server in a thread of its own."""
    told: queue.Queue[tuple[str, Any]] = queue.Queue()
    thread = threading.Thread(target=run_server, args=(told,))
    thread.start()
    address, end = told.get(timeout=PATIENCE_SECONDS)
    yield int(address.rpartition(":")[2])
    end()
    thread.join()


@attrs.frozen
class Asked:
    """One request, as it goes out."""

    method: str
    session_id: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""

    @property
    def content(self) -> bytes:
        target = f"/v1/sessions/{self.session_id}/events".encode()
        target += b"?" + self.query if self.query else b""
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), target)]
        lines += [b"%b: %b" % header for header in self.headers]
        return b"\r\n".join([*lines, b"", b""]) + self.body

    def all_of(self, name: bytes) -> list[bytes]:
        return [value for header, value in self.headers if header.lower() == name]


@attrs.frozen
class Answered:
    """One answer. ``whole`` is False if the reader left in the middle of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Connection:
    """A blocking client that reads answers, a few bytes at a time, as far as one wants them."""

    def __init__(self, port: int, piece_bytes: int = 65_536) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._piece_bytes = piece_bytes
        self._left = b""

    def send(self, content: bytes) -> None:
        # it may be refused before its end
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(content)

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(self._piece_bytes)
        except ConnectionResetError:
            return False  # closed with something of ours unread
        self._left += piece
        return bool(piece)

    def _take(self, size: int) -> bytes:
        content, self._left = self._left[:size], self._left[size:]
        return content

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._left:
            if not self._more():
                return None
        return self._take(self._left.index(end) + len(end))

    def answer(self, method: str, *, endless: bool) -> Answered | None:
        """The next answer; None behind the last one. Of an ``endless`` one, up to a heartbeat."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, status, *_ = first.split(" ")
        assert version == "HTTP/1.1"
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        if int(status) == 101:
            return None  # from here on it is another protocol
        if int(status) < 200:
            return self.answer(method, endless=endless)
        body, whole = self._body(method, int(status), headers, endless=endless)
        return Answered(int(status), headers, body, whole)

    def _body(
        self, method: str, status: int, headers: dict[str, str], *, endless: bool
    ) -> tuple[bytes, bool]:
        if method == "HEAD" or status == 204:
            return b"", True
        if headers.get("transfer-encoding") != "chunked":
            size = int(headers.get("content-length", "0"))
            while len(self._left) < size:
                if not self._more():
                    return self._left, False
            return self._take(size), True
        body = b""
        while line := self._until(b"\r\n"):
            size = int(line, 16)
            while len(self._left) < size + 2:
                if not self._more():
                    return body, False
            body += self._take(size)
            assert self._take(2) == b"\r\n"
            if not size:
                return body, True
            if endless and (b"heartbeat" in body or body.endswith(b"\n\n\n")):
                return body, False
        return body, False


# Values that are right, nearly right and wrong.
SEQS = st.integers(-2, 60).map(str)
ODD_VALUES = st.sampled_from(
    [
        "",
        "head",
        "HEAD",
        "tail",
        "1.5",
        "+1",
        "0x1",
        "1e3",
        "nan",
        "inf",
        "-0",
        " 1",
        "٣",
        "\x00",
        "9" * 19,
        "9" * 25,
        str(2**63 - 1),
        str(2**63),
        "null",
        "true",
        "[]",
        "a,b",
        ",",
        "x" * 300,
    ]
)
ESCAPED = st.sampled_from([b"%00", b"%ff", b"%", b"%zz", b"%C3%BC", b"%ED%A0%80", b"\xff", b"\xc3"])


def encoded(text: str) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in text.encode())


VALUES = st.one_of(SEQS.map(str.encode), SEQS.map(str.encode), ODD_VALUES.map(encoded), ESCAPED)
FILTERS = st.sampled_from([b"even", b"odd", b"even,odd", b"session_closed", b"none", b","])
WAITS = st.one_of(st.sampled_from([b"0", b"0.01", b"0.2", b"-1", b"301", b"1e999"]), VALUES)
PARAMETERS = st.one_of(
    st.tuples(st.sampled_from([b"after", b"after", b"before", b"limit"]), VALUES),
    st.tuples(st.just(b"types"), st.one_of(FILTERS, VALUES)),
    st.tuples(st.just(b"wait_seconds"), WAITS),
    st.tuples(st.sampled_from([b"run_id", b"unknown", b"", b"%61fter", b"After"]), VALUES),
)
QUERIES = st.lists(PARAMETERS, max_size=3).map(
    lambda pairs: b"&".join(b"%b=%b" % pair for pair in pairs)
)
STREAMED = [b"text/event-stream", b"application/x-ndjson", b"text/event-stream;q=0.1, */*"]
ACCEPTS = st.sampled_from(
    [
        *STREAMED,
        *STREAMED,
        b"application/json",
        b"*/*",
        b"",
        b";",
        b"text/html",
        b"TEXT/EVENT-STREAM",
        b",,,",
        b"\xff/\xfe",
        b"application/json, text/event-stream",
    ]
)
RAW = st.binary(max_size=20).map(
    lambda value: value.translate(None, b"\r\n\x00").strip(b" \t\x0b\x0c")
)
LAST_IDS = st.one_of(
    SEQS.map(str.encode), ODD_VALUES.map(lambda t: t.encode().strip(b"\x00 ")), RAW
)
HEADERS = st.one_of(
    st.tuples(st.sampled_from([b"Last-Event-ID", b"last-event-id"]), LAST_IDS),
    st.tuples(st.just(b"Accept"), ACCEPTS),
    st.tuples(
        st.sampled_from(
            [
                b"Range",
                b"If-None-Match",
                b"Cookie",
                b"X-\xff",
                b"Prefer",
                b"Accept-Encoding",
                b"TE",
                b"Content-Type",
                b"Origin",
                b"Authorization",
                b"Idempotency-Key",
                b"X" * 300,
            ]
        ),
        RAW,
    ),
    st.tuples(st.just(b"X-Long"), st.sampled_from([b"y" * 9_000, b"y" * 20_000])),
    st.tuples(st.just(b"Connection"), st.sampled_from([b"close", b"keep-alive", b"Upgrade"])),
    st.tuples(st.just(b"Upgrade"), st.sampled_from([b"websocket", b"h2c", b"x"])),
    st.tuples(st.just(b"Expect"), st.sampled_from([b"100-continue", b"a miracle"])),
)
BODIES = st.sampled_from(
    [
        ((b"Content-Length", b"0"), b""),
        ((b"Content-Length", b"2"), b"{}"),
        ((b"Content-Length", b"3"), b"???"),
        ((b"Content-Length", b"-1"), b""),
        ((b"Transfer-Encoding", b"chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
        ((b"Transfer-Encoding", b"chunked"), b"zz\r\n"),
        ((b"Content-Length", b"9" * 18), b""),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    method = draw(st.sampled_from(["GET"] * 12 + ["HEAD", "HEAD", "PUT", "OPTIONS", "BREW"]))
    headers = [(b"Host", b"localhost")] * draw(st.sampled_from([1] * 20 + [0, 2]))
    streams = st.tuples(st.just(b"Accept"), st.sampled_from(STREAMED))
    headers += draw(st.lists(streams, max_size=1))
    headers += draw(st.lists(HEADERS, max_size=3))
    body = b""
    if draw(st.sampled_from([False] * 6 + [True])):
        header, body = draw(BODIES)
        headers.append(header)
    session_id = draw(
        st.sampled_from(
            [CLOSED] * 4 + [OPEN, OPEN, TRIMMED, "missing", "%2F", "%ff", "a%00b", ".."]
        )
    )
    return Asked(method, session_id, draw(QUERIES), tuple(headers), body)


def is_stream(answer: Answered) -> bool:
    return answer.status == 200 and answer.headers["content-type"] in (
        "text/event-stream",
        "application/x-ndjson",
    )


def check(asked: Asked, answer: Answered) -> None:
    """That it is an answer to what was asked. What is no HTTP need not be understood."""
    assert answer.status < 500, answer
    if answer.status >= 400:
        if answer.headers.get("content-type") != "application/problem+json":
            assert answer.status in (400, 431), answer
            assert answer.body == b""
            assert answer.headers["connection"] == "close"
        elif asked.method != "HEAD" and answer.whole:
            problem = json.loads(answer.body)
            assert problem["status"] == answer.status
            assert problem["code"]
        return
    assert asked.method in ("GET", "HEAD")
    assert asked.session_id in HEADS
    if asked.method == "HEAD" or answer.status == 204:
        return
    if answer.headers["content-type"] == "application/json":
        events = json.loads(answer.body)["events"]
    elif answer.headers["content-type"] == "text/event-stream":
        events = of_server_sent(asked, answer)
    else:
        events = of_lines(asked, answer)
    check_events(asked, answer, events)


def of_server_sent(asked: Asked, answer: Answered) -> list[dict[str, Any]]:
    blocks = sse_events(answer.body[: answer.body.rfind(b"\n\n") + 2])
    ends = [block for block in blocks if "event" in block]
    if answer.whole:
        assert [end["event"] for end in ends] == ["end"]
        assert blocks[-1] == ends[0]
        assert ends[0]["data"]["reason"] == "session_closed"
    events = [block for block in blocks if "data" in block and "event" not in block]
    assert [int(block["id"]) for block in events] == [block["data"]["seq"] for block in events]
    return [block["data"] for block in events]


def of_lines(asked: Asked, answer: Answered) -> list[dict[str, Any]]:
    whole = answer.body[: answer.body.rfind(b"\n") + 1]
    lines = [json.loads(line) for line in whole.splitlines() if line]
    if answer.whole:
        assert lines[-1]["end"]["reason"] == "session_closed"
        lines = lines[:-1]
    assert all("end" not in line and "problem" not in line for line in lines)
    return lines


def check_events(asked: Asked, answer: Answered, events: list[dict[str, Any]]) -> None:
    """Ascending, filtered as it was asked, none missing between the cursor and the end."""
    given: dict[bytes, bytes] = {}
    types: set[bytes] = set()
    for pair in asked.query.split(b"&") if asked.query else ():
        name, _, value = (unquote_to_bytes(part) for part in pair.partition(b"="))
        given[name] = value
        if name == b"types":
            types.update(value.split(b","))  # they add up
    after = given.get(b"after", b"0")
    last_ids = [value for value in asked.all_of(b"last-event-id") if value]
    if is_stream(answer) and last_ids:
        # of several, one counts; none of those that are no seq was let through as such
        assert last_ids[0].isdigit()
        after = last_ids[0]
    seqs = [event["seq"] for event in events]
    head = HEADS[asked.session_id]
    begin = head if after == b"head" else int(after)
    assert seqs == sorted(set(seqs))
    assert all(seq > begin for seq in seqs)
    if given.keys() <= {b"after"}:
        assert seqs == list(range(begin + 1, begin + 1 + len(seqs)))
        if answer.whole and (is_stream(answer) or head - begin <= 100):
            assert seqs[-1:] == ([head] if begin < head else [])
    assert not types or {event["type"].encode() for event in events} <= types


def state_of(port: int) -> Any:
    """What an ordinary request gets: all sessions, as they are."""
    with closing(Connection(port).socket) as ordinary:
        ordinary.sendall(b"GET /v1/sessions HTTP/1.0\r\nhost: localhost\r\n\r\n")
        content = b""
        while piece := ordinary.recv(65_536):
            content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    return json.loads(body)["sessions"]


def converse(
    port: int, asked: list[Asked], cuts: list[int], piece_bytes: int, end_at: int | None
) -> int:
    """Send these at once, in pieces, all or up to ``end_at``; the number of right answers."""
    connection = Connection(port, piece_bytes)
    right = 0
    with closing(connection.socket):
        content = b"".join(request.content for request in asked)[:end_at]
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(content)], strict=True):
            connection.send(content[begin:end])
        if end_at is not None:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
        for request in asked:
            if not content:
                break  # no more was sent, and that the connection ends takes its time
            content = content[len(request.content) :]
            endless = request.session_id == OPEN
            answer = connection.answer(request.method, endless=endless)
            if answer is None:
                break
            check(request, answer)
            right += 1
            if not answer.whole or answer.headers.get("connection") == "close":
                break
    return right


FUZZ = settings(
    max_examples=max(EXAMPLES_MIN, settings.default.max_examples),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(
    asked=st.lists(requests(), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 400), max_size=3),
    piece_bytes=st.sampled_from([65_536, 65_536, 1_000, 7]),
)
def test_every_answer_is_right_whatever_is_asked(
    port: int, asked: list[Asked], cuts: list[int], piece_bytes: int
) -> None:
    before = state_of(port)

    answered = converse(port, asked, cuts, piece_bytes, None)

    # one whose body never comes, or that is no HTTP, may end without an answer; nothing hangs
    assert answered or len(asked[0].headers) != 1
    assert state_of(port) == before


@FUZZ
@given(
    asked=st.lists(requests(), min_size=1, max_size=2),
    left_at=st.integers(1, 600),
    piece_bytes=st.sampled_from([65_536, 1, 100]),
)
def test_who_stops_in_the_middle_of_a_request_leaves_nothing_behind(
    port: int, asked: list[Asked], left_at: int, piece_bytes: int
) -> None:
    before = state_of(port)

    converse(port, asked, [], piece_bytes, left_at)

    assert state_of(port) == before


@FUZZ
@given(content=st.binary(max_size=300), begun=st.sampled_from([b"", b"GET ", b"GET /v1/sessions"]))
def test_what_is_no_http_is_answered_by_400_or_by_nothing(
    port: int, content: bytes, begun: bytes
) -> None:
    connection = Connection(port)
    with closing(connection.socket):
        connection.send(begun + content)
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.answer("GET", endless=False)

    assert answer is None or 400 <= answer.status < 500
    state_of(port)


def test_streams_of_all_that_have_left_are_given_back(port: int) -> None:
    def streams() -> int:
        connection = Connection(port)
        with closing(connection.socket):
            connection.send(b"GET /v1/statistics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = connection.answer("GET", endless=False)
        assert answer is not None
        count: int = json.loads(answer.body)["streams"]
        return count

    follow = Asked("GET", OPEN, b"", ((b"Host", b"localhost"), (b"Accept", STREAMED[0])))
    connections = []
    for _ in range(20):
        connection = Connection(port)
        connections.append(connection)
        connection.send(follow.content)
        opened = connection.answer("GET", endless=True)
        assert opened is not None
        check(follow, opened)
    assert streams() >= len(connections)
    for connection in connections:
        connection.socket.close()

    while streams():
        pass
