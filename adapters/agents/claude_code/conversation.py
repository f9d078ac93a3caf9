"""Talking to a Claude Code that runs: what it writes is read, what it asks is answered."""

from __future__ import annotations

import uuid
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.errors import InvalidArgument, MoorageError
from moorage.runtime.messages import input_messages

from ..provider.failures import (
    AgentFailure,
    ProtocolViolated,
    ProviderExited,
    ProviderNotConfigured,
    ProviderTimeout,
)
from . import prompts, sdk
from .callbacks import Callbacks
from .failures import failure_of_result
from .mapping import PROVIDER, TOOL_SERVER, mapping_at
from .tool_gate import HOOK_SECONDS_MAX
from .transport import CONTROL_TYPES, ClaudeTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from moorage.runtime.agents import RunContext, Steer

    from ..provider.line_process import LineProcess
    from ..tools import Tool
    from .emitting import Emitter
    from .messages import MessageReader
    from .session_store import ClaudeSessionStore
    from .tool_gate import Answers, HookOutput

STOP_SECONDS = 0.3
"""How long a Claude Code whose run is cancelled may take to stop in good order; then it is ended,
within a second."""
GOODBYE_SECONDS = 3.0
"""How long Claude Code may take to end after its last answer: it writes its last lines then."""


class Conversation:
    """One run's exchange with ``process``. ``projects`` is the folder of its transcripts."""

    def __init__(
        self,
        context: RunContext,
        process: LineProcess,
        answers: Answers,
        reader: MessageReader,
        emitter: Emitter,
        store: ClaudeSessionStore,
        *,
        projects: str,
        start_seconds: float,
    ) -> None:
        self._context = context
        self._process = process
        self._answers = answers
        self._reader = reader
        self._emitter = emitter
        self._store = store
        self._projects = projects
        self._start_seconds = start_seconds
        self._transport = ClaudeTransport(process)
        self._steers: dict[str, tuple[str, Any]] = {}
        self._answered = False
        self._connected = trio.Event()
        self._scope = trio.CancelScope()
        self._failure: Exception | None = None

    async def hold(
        self,
        options: sdk.ClaudeAgentOptions,
        content: str | list[Any] | None,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """Say ``content``, if it is not None, and return when all is answered, every steer that
        was taken too. ``tell`` is awaited once Claude Code is ready, before anything is said.

        Raises an AgentFailure if Claude Code or its model fails, and what the session raises.
        """
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            callbacks = Callbacks(nursery, self._fail)
            transport: Any = self._transport
            client = sdk.ClaudeSDKClient(
                sdk.answering(
                    options,
                    hooks=self._hooks(callbacks),
                    can_use_tool=self._permission(callbacks),
                    servers=self._servers(callbacks),
                ),
                transport,
            )
            try:
                nursery.start_soon(self._speak, client, content, tell)
                await self._listen()
            except Exception as error:
                self._fail(error)
            finally:
                self._transport.abandon()
            nursery.cancel_scope.cancel()
        failure, self._failure = self._failure, None
        failure = failure or self._failed()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # a frame that its own traceback leads to is a cycle

    def _failed(self) -> AgentFailure | None:
        """What Claude Code says went wrong. An error of the model has been told as it came."""
        failure = failure_of_result(self._reader.result or {}, self._reader.error)
        if failure is not None:
            failure.told = self._reader.error is not None
        return failure

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        self._scope.cancel()

    async def _speak(
        self,
        client: sdk.ClaudeSDKClient,
        content: str | list[Any] | None,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        try:
            await self._connect(client)
            self._connected.set()
            await tell()
            if content is not None:
                await self._say(client, [(content, self._new_id())])
            while True:
                await self._context.wait_steer()
                if self._answered:
                    return  # too late: it becomes a run of its own
                # from here to the last id without waiting, or the run might end in between
                steers = [(steer, self._new_id()) for steer in self._context.take_steers()]
                await self._steer(client, steers)
        except Exception as error:
            self._fail(error)
        finally:
            with trio.CancelScope(shield=True):  # ends the SDK's tasks, and waits for them
                await client.disconnect()

    async def _connect(self, client: sdk.ClaudeSDKClient) -> None:
        try:
            with trio.fail_after(self._start_seconds):
                await client.connect()
        except trio.TooSlowError as error:
            raise ProviderTimeout(
                f"{PROVIDER} did not answer within {self._start_seconds} s of its start",
                provider=PROVIDER,
                stderr=self._process.stderr,
            ) from error
        except (AgentFailure, OSError):
            raise
        except Exception as error:  # the SDK raises bare Exceptions
            raise ProtocolViolated(
                f"{PROVIDER} could not be started: {error}",
                provider=PROVIDER,
                stderr=self._process.stderr,
            ) from error
        account = mapping_at(await client.get_server_info(), "account")
        if (
            account.get("apiProvider") == "firstParty"
            and account.get("tokenSource") in (None, "none")
            and account.get("apiKeySource") in (None, "none")
        ):
            raise ProviderNotConfigured(
                f"{PROVIDER} has no login and no key: log in with `claude`, or set "
                "ANTHROPIC_API_KEY in its environment",
                provider=PROVIDER,
            )

    def _new_id(self) -> str:
        """The id of a message that is about to be said: the run waits for its answer."""
        id = str(uuid.uuid4())
        self._reader.waiting.add(id)
        return id

    async def _say(self, client: sdk.ClaudeSDKClient, contents: list[tuple[Any, str]]) -> None:
        async def lines() -> AsyncGenerator[dict[str, Any], None]:
            for content, id in contents:
                yield prompts.user_message(content, id)

        async with aclosing(lines()) as said:
            await client.query(said)

    async def _steer(self, client: sdk.ClaudeSDKClient, steers: list[tuple[Steer, str]]) -> None:
        contents = []
        for steer, id in steers:
            try:
                said = input_messages(steer.message)
                contents.append((prompts.prompt_content([], said), id))
                self._steers[id] = (steer.id, said[-1].content)
            except InvalidArgument as error:
                self._reader.waiting.discard(id)
                data = {"code": "steer_unreadable", "category": "request", "retryable": False}
                message = f"the steer {steer.id} cannot be given to {PROVIDER}: {error}"
                await self._context.emit("error_occurred", {**data, "message": message})
        await self._say(client, contents)

    async def _listen(self) -> None:
        try:
            async for message in self._process.messages():
                await self._heard(message)
                if self._reader.over:
                    self._answered = True
                    break
            else:
                raise await self._process.exited()
        except ProviderExited as exited:
            raise self._failed() or exited from None
        except trio.Cancelled:
            if self._answers.gate.parking:
                raise  # what it wrote now would be a result of the call
            with trio.move_on_after(STOP_SECONDS, shield=True), suppress(MoorageError):
                await self._stop()
            raise
        # it writes the last lines of its transcripts when its input ends
        self._process.close_input()
        with trio.move_on_after(GOODBYE_SECONDS), suppress(AgentFailure):
            await self._keep_rest()

    async def _stop(self) -> None:
        """Let Claude Code write what was said and done to its transcript, so that the next run can
        go on from there: it does that a moment later than it does the thing."""
        interrupt = {"type": "control_request", "request_id": "moorage-stop"}
        await self._process.send({**interrupt, "request": {"subtype": "interrupt"}})
        self._process.close_input()
        await self._keep_rest()

    async def _keep_rest(self) -> None:
        async for message in self._process.messages():
            if message.get("type") == "transcript_mirror":
                await self._keep(message)

    async def _heard(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind in CONTROL_TYPES:
            self._answers.tools.heard(message)
            self._transport.deliver(message)
        elif kind == "transcript_mirror":
            await self._keep(message)
        else:
            await self._emitter.emit(self._reader.feed(message, trio.current_time()))
            self._answers.gate.heard()
            if kind == "command_lifecycle" and message.get("state") == "started":
                await self._given(str(message.get("command_uuid")))

    async def _given(self, id: str) -> None:
        """A steer is in the next request to the model."""
        if id in self._steers:
            steer_id, content = self._steers.pop(id)
            data = {"role": "user", "content": content, "steer_id": steer_id}
            await self._emitter.emit([("message_sent", data, self._reader.metadata())])

    async def _keep(self, message: Mapping[str, Any]) -> None:
        path, entries = message.get("filePath"), message.get("entries")
        if isinstance(path, str) and isinstance(entries, list):
            key = sdk.file_path_to_session_key(path, self._projects)
            if key is not None:
                await self._store.append(key, entries)
                self._reader.transcripted(entries)

    def _permission(self, callbacks: Callbacks) -> Any:
        async def can_use_tool(
            name: str, tool_input: dict[str, Any], asked: sdk.ToolPermissionContext
        ) -> sdk.PermissionResultAllow | sdk.PermissionResultDeny:
            await self._connected.wait()  # a call that was put off comes before our hooks are known
            decision = await callbacks.call(
                self._answers.gate.permit, name, tool_input, str(asked.tool_use_id)
            )
            if decision.approved:
                return sdk.PermissionResultAllow(updated_input=decision.tool_input)
            return sdk.PermissionResultDeny(message=decision.reason or "the user denied it")

        return can_use_tool if self._answers.asks else None

    def _hooks(self, callbacks: Callbacks) -> dict[str, list[sdk.HookMatcher]]:
        def matcher(answer: Callable[[Any], Awaitable[HookOutput]]) -> sdk.HookMatcher:
            async def hook(asked: Any, tool_use_id: str | None, _: Any) -> Any:
                return await callbacks.call(answer, {"tool_use_id": tool_use_id, **asked})

            return sdk.HookMatcher(hooks=[hook], timeout=HOOK_SECONDS_MAX)

        return {event: [matcher(answer)] for event, answer in self._answers.hooks.items()}

    def _servers(self, callbacks: Callbacks) -> dict[str, Any]:
        def offered(tool: Tool) -> sdk.SdkMcpTool[Any]:
            async def handle(arguments: dict[str, Any]) -> Any:
                return await callbacks.call(self._answers.tools.call, tool.name, arguments)

            return sdk.SdkMcpTool(tool.name, tool.description, tool.input_schema, handle)

        tools = [offered(tool) for tool in self._answers.tools.tools.values()]
        return {TOOL_SERVER: sdk.create_sdk_mcp_server(TOOL_SERVER, tools=tools)} if tools else {}
