"""JSON-RPC 2.0 with a program that speaks lines of JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import structlog
import trio
from moorage.runtime.errors import InvalidArgument

from .failures import (
    AgentFailure,
    ProtocolViolated,
    ProviderExited,
    ProviderTimeout,
    ProviderUnavailable,
    RequestInvalid,
)
from .side_tasks import open_side_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUESTS_RUNNING_MAX = 256
"""Requests of the peer that are being answered at once; more are refused."""
FACTS_CHARS_MAX = 8_192
"""Of an error's data that is kept, as JSON."""

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32601, -32602, -32603
SERVER_BUSY = -32000

RequestHandler = Callable[[str, Any], Awaitable[Any]]
NotificationHandler = Callable[[str, Any], Awaitable[object]]

ERRORS: Mapping[int, type[AgentFailure]] = {
    PARSE_ERROR: ProtocolViolated,
    INVALID_REQUEST: ProtocolViolated,
    METHOD_NOT_FOUND: ProtocolViolated,
    INVALID_PARAMS: RequestInvalid,
    INTERNAL_ERROR: ProviderUnavailable,
}
"""What the codes of the standard stand for; codes that are in no table are RequestInvalid."""

logger = structlog.get_logger("moorage")


class RpcRefused(Exception):
    """A handler raises it to answer the peer's request with an error of its choice."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Peer(Protocol):
    """What JSON-RPC needs of a LineProcess."""

    @property
    def provider(self) -> str: ...
    async def send(self, message: Mapping[str, Any]) -> None: ...
    def messages(self) -> AsyncIterator[dict[str, Any]]: ...
    async def exited(self) -> ProviderExited: ...


@contextlib.asynccontextmanager
async def open_json_rpc(
    process: Peer,
    *,
    on_request: RequestHandler | None = None,
    on_notification: NotificationHandler | None = None,
    errors: Mapping[int, type[AgentFailure]] | None = None,
    header: bool = True,
) -> AsyncIterator[JsonRpc]:
    """Speak JSON-RPC with ``process`` for the length of a block.

    ``on_notification(method, params)`` is awaited for one notification after the other, in their
    order, so it may emit but must not make requests. ``on_request(method, params)`` runs in a task
    per request, so it may take long; what it returns is the answer, and an exception becomes an
    error for the peer (RpcRefused chooses its code). ``errors`` maps further error codes of the
    peer to failures. Without ``header`` messages go out without their ``"jsonrpc": "2.0"``.

    Whatever ends the conversation from the other side (the program ends, breaks the protocol, or
    ``on_notification`` raises) cancels the block and is raised from it.
    """
    rpc = JsonRpc(
        process,
        on_request=on_request,
        on_notification=on_notification,
        errors={**ERRORS, **(errors or {})},
        header=header,
    )
    async with open_side_tasks() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(rpc._read, nursery, scope)
            yield rpc
        if scope.cancelled_caught and rpc._failure is not None:
            raise rpc._failure


class _Waiting:
    """A request of ours whose answer is awaited."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: dict[str, Any] = {}


class JsonRpc:
    """One side of a conversation. Made by ``open_json_rpc``."""

    def __init__(
        self,
        process: Peer,
        *,
        on_request: RequestHandler | None,
        on_notification: NotificationHandler | None,
        errors: Mapping[int, type[AgentFailure]],
        header: bool,
    ) -> None:
        self._process = process
        self._on_request = on_request
        self._on_notification = on_notification
        self._errors = errors
        self._header: dict[str, Any] = {"jsonrpc": "2.0"} if header else {}
        self._last_id = 0
        self._waiting: dict[int, _Waiting] = {}
        self._running = 0
        self._failure: Exception | None = None

    async def request(
        self, method: str, params: Any = None, *, timeout_seconds: float | None = None
    ) -> Any:
        """Ask the peer and return its result.

        Raises the failure that its error stands for, with ``rpc_code``, ``rpc_method`` and, if it
        is small, ``rpc_data`` in its ``facts``; ProviderTimeout after ``timeout_seconds``;
        ProviderExited if the peer ends first. An answer that comes after a timeout or a
        cancellation is passed over.
        """
        if self._failure is not None:
            raise self._failure
        self._last_id += 1
        id, waiting = self._last_id, _Waiting()
        self._waiting[id] = waiting
        try:
            with trio.move_on_after(float("inf") if timeout_seconds is None else timeout_seconds):
                await self._send({"id": id, "method": method}, params)
                await waiting.answered.wait()
                return self._result(method, waiting.answer)
        finally:
            del self._waiting[id]
        raise ProviderTimeout(
            f"{self._process.provider} did not answer {method} within {timeout_seconds} seconds",
            provider=self._process.provider,
        )

    async def notify(self, method: str, params: Any = None) -> None:
        """Tell the peer something that it does not answer."""
        await self._send({"method": method}, params)

    async def _send(self, message: dict[str, Any], params: Any) -> None:
        if params is not None:
            message["params"] = params
        await self._process.send(self._header | message)

    def _result(self, method: str, answer: dict[str, Any]) -> Any:
        if self._failure is not None and not answer:
            raise self._failure
        if "error" not in answer:
            return answer.get("result")
        error = answer["error"]
        if not isinstance(error, dict):
            error = {"message": str(error)}
        code = error.get("code")
        kind = self._errors.get(code, RequestInvalid) if type(code) is int else ProtocolViolated
        facts: dict[str, Any] = {"rpc_method": method, "rpc_code": code}
        data = error.get("data")
        if data is not None and len(json.dumps(data)) <= FACTS_CHARS_MAX:
            facts["rpc_data"] = data
        provider = self._process.provider
        message = f"{provider} refused {method}: {error.get('message', 'no reason given')}"
        raise kind(message, provider=provider, facts=facts)

    @property
    def last_id(self) -> int:
        """The id of the request that was sent last."""
        return self._last_id

    async def answer_to(self, id: int) -> dict[str, Any] | None:
        """The peer's answer to the request ``id``, as it came; None if the peer ends before.

        For a task of the block that outlives its cancellation, to hear a last word: nobody else
        reads any more, and whatever the peer says before is passed over.
        """
        await trio.lowlevel.checkpoint()  # the task that reads has been cancelled by then
        async for message in self._process.messages():
            if message.get("id") == id and "method" not in message:
                return message
        return None

    # ---- from the peer ----

    async def _read(self, nursery: trio.Nursery, block: trio.CancelScope) -> None:
        try:
            async for message in self._process.messages():
                await self._dispatch(message, nursery)
            self._failure = await self._process.exited()
        except Exception as error:  # raised where the block is left
            self._failure = error
        for waiting in self._waiting.values():
            waiting.answered.set()
        block.cancel()

    async def _dispatch(self, message: dict[str, Any], nursery: trio.Nursery) -> None:
        method, id = message.get("method"), message.get("id")
        if type(method) is str:
            if "id" not in message:
                if self._on_notification is not None:
                    await self._on_notification(method, message.get("params"))
            elif self._running >= REQUESTS_RUNNING_MAX:
                nursery.start_soon(self._refuse, id, SERVER_BUSY, "too many requests at once")
            else:
                self._running += 1
                nursery.start_soon(self._answer, id, method, message.get("params"))
        elif "result" in message or "error" in message:
            waiting = self._waiting.get(id) if type(id) is int else None
            if waiting is None:  # timed out or cancelled meanwhile
                logger.debug("rpc_answer_unexpected", provider=self._process.provider, id=id)
            else:
                waiting.answer = message
                waiting.answered.set()
        else:
            raise ProtocolViolated(
                f"{self._process.provider} sent neither request nor answer: {message!r:.200}",
                provider=self._process.provider,
            )

    async def _answer(self, id: Any, method: str, params: Any) -> None:
        try:
            if self._on_request is None:
                raise RpcRefused(METHOD_NOT_FOUND, f"there is no method {method}")
            result = await self._on_request(method, params)
            with contextlib.suppress(AgentFailure):  # the peer's end is told by the reading side
                await self._send({"id": id, "result": result}, None)
        except RpcRefused as refused:
            await self._refuse(id, refused.code, refused.message, refused.data)
        except Exception as error:  # told to the peer, which asked
            logger.warning(
                "rpc_handler_raised",
                provider=self._process.provider,
                method=method,
                exc_info=error,
            )
            code = INVALID_PARAMS if isinstance(error, InvalidArgument) else INTERNAL_ERROR
            await self._refuse(id, code, f"{type(error).__name__}: {error}")
        finally:
            self._running -= 1

    async def _refuse(self, id: Any, code: int, message: str, data: Any = None) -> None:
        error: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            error["data"] = data
        with contextlib.suppress(AgentFailure):
            await self._send({"id": id, "error": error}, None)
