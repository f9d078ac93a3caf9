"""ModelTwin: the server itself."""

from __future__ import annotations

import contextlib
import inspect
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import trio
from moorage.runtime.errors import InvalidArgument

from .background import known_background
from .client_settings import configure, environment
from .http_connection import HttpConnection, Incoming, RequestRefused, decoded
from .playback import JSON, play
from .playing import Told, dumps
from .replies import HttpError, Part, Reply, parts_of
from .routes import answer, dialect_of
from .twin_request import Outcome, TwinRequest

Script = Sequence[Reply] | Callable[[TwinRequest], Reply | Awaitable[Reply]]
Background = Callable[[TwinRequest], Reply | None]

MODELS = ("twin",)
LEFT = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError)
NO_RETRY = {"x-should-retry": "false"}
"""Official SDKs obey it: a mistake in a test shows at once and not after their back-off."""


@attrs.frozen
class TwinStatistics:
    """Counts since the twin was made. ``requests`` are all, ``conversation`` those for the script,
    ``background`` the others; ``replies_left`` is None for a script that is a function."""

    requests: int
    conversation: int
    background: int
    answered: int
    client_left: int
    cut: int
    out_of_script: int
    script_failed: int
    replies_left: int | None
    connections: int
    connections_open: int


class ModelTwin:
    """A model server that plays a script, on this machine, for tests.

    ::

        async with ModelTwin([Text("Hello"), HttpError(429, retry_after=1)]).serving() as twin:
            client = anthropic.AsyncAnthropic(base_url=twin.url, api_key="any")

    ``script`` has one reply per request of the conversation, in the order in which they came; or
    it is a function, async or not, from a TwinRequest to its reply. Behind the last reply, and
    when the function raises, the twin answers with a 500 that says so, and counts it; what the
    function raised is raised again by ``serving`` when its block ends without an error.

    ``background`` is asked first, for each request to a model: a reply from it is sent, and the
    request does not count for the script; None leaves it to the script, and what it raises is
    treated as what the script raises. The default knows what
    Claude Code, Codex, Copilot and pi ask beside the conversation. ``models`` is what
    ``/v1/models`` lists. Raises InvalidArgument for a script that is neither.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        background: Background | None = known_background,
        models: Sequence[str] = MODELS,
    ) -> None:
        self._function: Callable[[TwinRequest], Reply | Awaitable[Reply]] | None = None
        self._replies: list[tuple[Part, ...]] = []
        if callable(script):
            self._function = script
        elif isinstance(script, str) or not isinstance(script, Sequence):
            raise InvalidArgument(
                f"script must be a sequence of replies or a function, not {script!r}: "
                "put a single reply into a list"
            )
        else:
            self._replies = [parts_of(reply) for reply in script]
        if background is not None and not callable(background):
            raise InvalidArgument(f"background must be a function or None, not {background!r}")
        self._background = background
        self._models = tuple(models)
        self._token = secrets.token_hex(3)
        self._recorded: list[TwinRequest] = []
        self._conversation: list[TwinRequest] = []
        self._failures: list[Exception] = []
        self._connections = 0
        self._connections_open = 0
        self._changed = trio.Event()
        self._url: str | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash behind it. InvalidArgument if not serving."""
        if self._url is None:
            raise InvalidArgument("this twin has no url: it is not inside of serving()")
        return self._url

    @property
    def requests(self) -> list[TwinRequest]:
        """What the script was asked, in order."""
        return list(self._conversation)

    @property
    def background_requests(self) -> list[TwinRequest]:
        """Everything else that came: listings, counts, probes, and what ``background`` took."""
        return [request for request in self._recorded if request.conversation is None]

    @property
    def all_requests(self) -> list[TwinRequest]:
        """Everything that came, in order."""
        return list(self._recorded)

    async def wait_requests(self, count: int) -> list[TwinRequest]:
        """Wait until the script was asked ``count`` times; returns what ``requests`` does."""
        await self._wait(lambda: len(self._conversation) >= count)
        return self.requests

    async def wait_all_requests(self, count: int) -> list[TwinRequest]:
        """Likewise for everything that came; returns what ``all_requests`` does."""
        await self._wait(lambda: len(self._recorded) >= count)
        return self.all_requests

    async def wait_answered(self, request: TwinRequest) -> TwinRequest:
        """Wait until answering this request is over, in whatever way its ``outcome`` then says."""
        await self._wait(lambda: request.outcome != "open")
        return request

    def statistics(self) -> TwinStatistics:
        """What happened so far."""
        outcomes = [request.outcome for request in self._recorded]
        asked = len(self._conversation)
        left = None if self._function is not None else max(0, len(self._replies) - asked)
        return TwinStatistics(
            requests=len(self._recorded),
            conversation=asked,
            background=len(self._recorded) - asked,
            answered=outcomes.count("answered"),
            client_left=outcomes.count("client_left"),
            cut=outcomes.count("cut"),
            out_of_script=outcomes.count("out_of_script"),
            script_failed=outcomes.count("script_failed"),
            replies_left=left,
            connections=self._connections,
            connections_open=self._connections_open,
        )

    def environment(self, kind: str, *, model: str | None = None) -> dict[str, str]:
        """The variables that make a client talk to this twin.

        ``kind`` is "anthropic" or "openai" (the SDKs), "claude" or "copilot"; ``model`` is what
        a command line shall ask for. Raises InvalidArgument for another kind, and for "codex" and
        "pi", which need ``configure``.
        """
        return environment(kind, self.url, model)

    def configure(
        self, kind: str, directory: str | Path, *, model: str | None = None
    ) -> dict[str, str]:
        """Likewise with files, written into ``directory``, that becomes the client's own place for
        configuration and sessions. Takes "codex" and "pi" too.

        Call it again after a restart of the twin: the files have its port. Raises InvalidArgument
        for an unknown kind and where a file is not the twin's to overwrite.
        """
        return configure(kind, self.url, Path(directory), model)

    @contextlib.asynccontextmanager
    async def serving(self, *, port: int = 0) -> AsyncIterator[ModelTwin]:
        """Serve on 127.0.0.1 while the block runs; ``port`` 0 takes a free one.

        Connections end with the block. Raises OSError if the port is taken, what the block raised,
        bare, or else the first error of a script that is a function.
        """
        if self._url is not None:
            raise InvalidArgument("this twin is being served already: make another one")
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self._url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        raised: BaseException | None = None
        try:
            async with listener, trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve, [listener])
                try:
                    yield self
                except BaseException as error:
                    raised = error  # raised again below, outside of the nursery's group
                nursery.cancel_scope.cancel()
        finally:
            self._url = None
        if raised is not None:
            raise raised
        if self._failures:
            raise self._failures[0]

    async def _wait(self, reached: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not reached():
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = HttpConnection(stream)
        self._connections += 1
        self._connections_open += 1
        try:
            while (incoming := await connection.receive()) is not None:
                await self._exchange(connection, incoming)
                if not connection.reusable:
                    break
        except RequestRefused as refused:
            with contextlib.suppress(*LEFT):
                await connection.refuse(refused.status, [JSON], dumps({"error": str(refused)}))
        except LEFT:
            pass
        finally:
            self._connections_open -= 1
            await connection.close()

    async def _exchange(self, connection: HttpConnection, incoming: Incoming) -> None:
        """Record a request and answer it. Raises what says that the client has left."""
        path, _, query = incoming.target.partition("?")
        request = TwinRequest(
            number=len(self._recorded) + 1,
            method=incoming.method,
            path=path,
            query=query,
            headers=incoming.headers,
            body_bytes=decoded(incoming.body, incoming.headers.get("content-encoding", "")),
            dialect=dialect_of(incoming.method, path),
        )
        self._recorded.append(request)
        try:
            if request.dialect == "other":
                request.status, body = answer(request, self._models)
                self._wake()
                await connection.respond(request.status, [JSON], dumps(body))
                request.outcome = "answered"
            else:
                await self._answer_model(connection, request)
        finally:
            if request.outcome == "open":
                request.outcome = "client_left"
            self._wake()

    async def _answer_model(self, connection: HttpConnection, request: TwinRequest) -> None:
        failure: Outcome | None = None
        try:
            aside = self._background(request) if self._background is not None else None
            if aside is not None:
                parts = parts_of(aside)
            else:
                self._conversation.append(request)
                request.conversation = len(self._conversation)
                self._wake()
                if self._function is None and request.conversation > len(self._replies):
                    failure = "out_of_script"
                    parts = (self._exhausted(request),)
                else:
                    parts = await self._scripted(request, request.conversation)
        except Exception as error:
            self._failures.append(error)
            failure = "script_failed"
            message = f"the script of this ModelTwin raised {error!r}"
            parts = (HttpError(500, message, headers=NO_RETRY),)
        now = int(time.time())
        told = Told(request=request, parts=parts, token=self._token, created=now)
        played = await play(connection, told)
        request.outcome = failure or played

    async def _scripted(self, request: TwinRequest, number: int) -> tuple[Part, ...]:
        if self._function is None:
            return self._replies[number - 1]
        reply = self._function(request)
        if inspect.isawaitable(reply):
            reply = await reply
        return parts_of(reply)

    def _exhausted(self, request: TwinRequest) -> HttpError:
        message = (
            f"the script of this ModelTwin has {len(self._replies)} replies, and this is request "
            f"{request.conversation} of the conversation ({request.model}: "
            f"{request.prompt[-200:]!r}): add a reply, or let background= take the request"
        )
        return HttpError(500, message, headers=NO_RETRY)
