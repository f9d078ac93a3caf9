"""AnthropicAgent: the Messages API as an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import trio

from ..model_api.loop import Loop
from ..model_api.options import RETRIES_MAX, STALL_SECONDS_MAX, ClientLimits, loop_parts
from ..model_api.shared_client import SharedClient, certificates
from ..provider.failures import ProviderNotConfigured
from ..provider.settings import AgentSettings, Continuation, PermissionMode, child_environment
from .mapping import PROVIDER
from .messages_api import MessagesApi

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

OFFICIAL_URL = "https://api.anthropic.com"
MAX_TOKENS = 8_192
"""How long an answer may be unless somebody says otherwise; the API wants to be told."""


class AnthropicAgent:
    """An agent that asks Anthropic's Messages API and executes the tools that the model calls.

    ::

        agent = AnthropicAgent(model="claude-sonnet-4-5", tools=[weather])

    **Input** is a str or a map (see ``moorage.runtime.messages.input_messages``), with ``options``
    for this run. **Tools** are typed async functions (``moorage.adapters.agents.tools``); calls run
    in parallel, what goes wrong with one is its result for the model. **Output** is ``{"content",
    "stop_reason", "provider", "model", "turns"}``.

    **Events**: message_sent, message_streamed (deltas of ``coalesce_seconds``), message_received,
    the events of tools and approvals, token_usage_updated (``cost_usd`` from ``prices``, in US
    dollars per million tokens), turn_completed, and provider_event for the rest.

    **Conversation.** Each run is given what the session's log has of earlier ones (``continuation``
    "auto" or "replay"), or nothing ("none"). Thinking goes back with its signatures.
    ``prompt_caching`` puts a breakpoint of the provider's cache on the last message. A run that
    waits for an approval, or is requeued, goes on where its log ends and executes no call twice.

    **Key.** ``api_key``, or ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN in ``environment`` or in that
    of this process; ``base_url`` likewise, or ANTHROPIC_BASE_URL. Without one a run fails with
    ProviderNotConfigured. A ``client`` of one's own is used as it is and not closed.

    **Failure.** Runs fail with AgentFailure (``moorage.adapters.agents.provider.failures``). The
    SDK asks again up to ``retries_max`` times before an answer begins; nothing heard for
    ``stall_seconds_max`` is ProviderTimeout; more than ``turns_max`` questions are TurnsExceeded.

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
        max_tokens: int = MAX_TOKENS,
        prompt_caching: bool = False,
        api_key: str | None = None,
        base_url: str | None = None,
        retries_max: int = RETRIES_MAX,
        stall_seconds_max: float = STALL_SECONDS_MAX,
        client: anthropic.AsyncAnthropic | None = None,
    ) -> None:
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
        self._prompt_caching = prompt_caching
        self._api_key = api_key
        self._base_url = base_url
        self._client = SharedClient(self._make_client, own=client)

    async def __call__(self, request: RunRequest, context: RunContext) -> dict[str, Any]:
        async with self._client.use() as client:
            return await self._run(client, request, context)

    async def version(self) -> str:
        """The SDK's name and version, such as "anthropic 2.14.0"."""
        await trio.lowlevel.checkpoint()
        return f"anthropic {anthropic.__version__}"

    async def __aenter__(self) -> AnthropicAgent:
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
        self, client: anthropic.AsyncAnthropic, request: RunRequest, context: RunContext
    ) -> dict[str, Any]:
        api = MessagesApi(
            client=client,
            max_tokens=self._limits.max_tokens or MAX_TOKENS,
            prompt_caching=self._prompt_caching,
            stall_seconds=self._limits.stall_seconds_max,
        )
        return await Loop(self._parts, api, request, context).run()

    def _make_client(self) -> anthropic.AsyncAnthropic:
        variables = child_environment(self._parts.settings.environment)
        key = self._api_key or variables.get("ANTHROPIC_API_KEY")
        token = None if key else variables.get("ANTHROPIC_AUTH_TOKEN")
        if not key and not token:
            raise ProviderNotConfigured(
                "anthropic needs a key: set ANTHROPIC_API_KEY, or give AnthropicAgent an api_key",
                provider=PROVIDER,
            )
        limits = self._limits
        return anthropic.AsyncAnthropic(
            api_key=key or None,
            auth_token=token or None,
            base_url=self._base_url or variables.get("ANTHROPIC_BASE_URL") or OFFICIAL_URL,
            max_retries=limits.retries_max,
            timeout=anthropic.Timeout(limits.stall_seconds_max, connect=limits.connect_seconds_max),
            http_client=anthropic.DefaultAsyncHttpxClient(verify=certificates()),
        )
