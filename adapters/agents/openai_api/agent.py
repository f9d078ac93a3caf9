"""OpenAIAgent: the Responses API, or any compatible chat endpoint, as an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import openai
import trio
from moorage.runtime.errors import InvalidArgument

from ..model_api.loop import Loop
from ..model_api.options import RETRIES_MAX, STALL_SECONDS_MAX, ClientLimits, loop_parts
from ..model_api.shared_client import SharedClient, certificates
from ..provider.failures import ProviderNotConfigured
from ..provider.settings import AgentSettings, Continuation, PermissionMode, child_environment
from .chat_api import ChatApi
from .mapping import PROVIDER
from .responses_api import ResponsesApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from ..context_window import ContextWindow
    from ..model_api.prices import Prices
    from ..provider.approvals import ApprovalDefault
    from ..provider.hooks import Hooks
    from ..tools.definition import Tool, ToolFunction
    from ..tools.execution import ToolLimits

OFFICIAL_URL = "https://api.openai.com/v1"
NO_KEY = "none"
"""What is sent as the key to an endpoint of one's own that wants none."""


class OpenAIAgent:
    """An agent that asks OpenAI's Responses API, or with ``api="chat"`` a chat endpoint, and
    executes the tools that the model calls.

    ::

        OpenAIAgent(model="gpt-5", tools=[weather])
        OpenAIAgent(model="llama3", api="chat", base_url="http://127.0.0.1:11434/v1")

    Input, tools, output, events, approvals and failures are those of AnthropicAgent. Where a chat
    endpoint streams what the model thinks, that is streamed too.

    **Conversation.** With the Responses API and ``continuation`` "auto", a run continues the
    provider's own last response of this session and sends only what is new; where that is gone, the
    conversation is sent as a whole, which is recorded as error_recovered. "native" fails with
    ContinuationLost instead, "replay" always sends the whole, "none" nothing of earlier runs. Chat
    endpoints keep nothing, so "auto" is "replay" there and "native" is refused.

    **Key.** ``api_key``, or OPENAI_API_KEY in ``environment`` or in that of this process;
    ``base_url`` likewise, or OPENAI_BASE_URL. Without a key a run fails with ProviderNotConfigured,
    unless there is a ``base_url``: many compatible endpoints want none. A ``client`` of one's own
    is used as it is and not closed.

    ``async with agent:`` keeps the connections between runs, which saves setting them up.
    Raises InvalidArgument for arguments outside of their ranges.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
        working_directory: str | None = None,
        environment: Mapping[str, str | None] | None = None,
        turns_max: int | None = None,
        permission_mode: PermissionMode = "default",
        continuation: Continuation = "auto",
        provider_options: Mapping[str, Any] | None = None,
        tools: Iterable[Tool | ToolFunction] = (),
        tool_limits: ToolLimits | None = None,
        hooks: Hooks | None = None,
        approval_timeout_seconds: float | None = None,
        approval_default: ApprovalDefault = "deny",
        coalesce_seconds: float = 0.02,
        context_window: ContextWindow | None = None,
        prices: Prices | None = None,
        api: Literal["responses", "chat"] = "responses",
        max_tokens: int | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        retries_max: int = RETRIES_MAX,
        stall_seconds_max: float = STALL_SECONDS_MAX,
        client: openai.AsyncOpenAI | None = None,
    ) -> None:
        if api not in ("responses", "chat"):
            raise InvalidArgument(f"api must be 'responses' or 'chat', not {api!r}")
        settings = AgentSettings(
            model=model,
            system_prompt=system_prompt,
            working_directory=working_directory,
            environment=environment,
            turns_max=turns_max,
            permission_mode=permission_mode,
            continuation=continuation,
            provider_options=provider_options,
        )
        self._parts = loop_parts(
            settings=settings,
            tools=tools,
            tool_limits=tool_limits,
            hooks=hooks,
            approval_timeout_seconds=approval_timeout_seconds,
            approval_default=approval_default,
            coalesce_seconds=coalesce_seconds,
            context_window=context_window,
            prices=prices,
        )
        self._limits = ClientLimits(
            max_tokens=max_tokens, retries_max=retries_max, stall_seconds_max=stall_seconds_max
        )
        self._api: type[ResponsesApi | ChatApi] = ChatApi if api == "chat" else ResponsesApi
        self._api_key = api_key
        self._base_url = base_url
        self._client = SharedClient(self._make_client, own=client)

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        async with self._client.use() as client:
            return await self._run(client, request, context)

    async def version(self) -> str:
        """The SDK's name and version, such as "openai 2.14.0"."""
        await trio.lowlevel.checkpoint()
        return f"openai {openai.__version__}"

    async def __aenter__(self) -> OpenAIAgent:
        await self._client.hold()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.let_go()

    async def _run(
        self, client: openai.AsyncOpenAI, request: RunRequest, context: RunContext
    ) -> dict[str, Any]:
        limits = self._limits
        api = self._api(
            client=client, max_tokens=limits.max_tokens, stall_seconds=limits.stall_seconds_max
        )
        return await Loop(self._parts, api, request, context).run()

    def _make_client(self) -> openai.AsyncOpenAI:
        variables = child_environment(self._parts.settings.environment)
        base_url = self._base_url or variables.get("OPENAI_BASE_URL") or None
        key = self._api_key or variables.get("OPENAI_API_KEY")
        if not key and base_url is None:
            raise ProviderNotConfigured(
                "openai needs a key: set OPENAI_API_KEY, give OpenAIAgent an api_key, or give it "
                "the base_url of an endpoint that wants none",
                provider=PROVIDER,
            )
        limits = self._limits
        return openai.AsyncOpenAI(
            api_key=key or NO_KEY,
            base_url=base_url or OFFICIAL_URL,
            max_retries=limits.retries_max,
            timeout=openai.Timeout(limits.stall_seconds_max, connect=limits.connect_seconds_max),
            http_client=openai.DefaultAsyncHttpxClient(verify=certificates()),
        )
