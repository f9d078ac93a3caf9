"""What the constructors of these agents have in common, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.transcript_pages import TranscriptCache

from ..context_window import ContextWindow, GaugeCache
from ..provider.approvals import ApprovalDefault, check_approval_default
from ..provider.deltas import check_coalesce_seconds
from ..provider.hooks import Hooks
from ..provider.settings import AgentSettings
from ..tools.definition import Tool, ToolFunction, check_timeout, tools_by_name
from ..tools.execution import ToolLimits
from .prices import Prices, check_prices

if TYPE_CHECKING:
    from collections.abc import Iterable


RETRIES_MAX = 2
STALL_SECONDS_MAX = 300.0
CONNECT_SECONDS_MAX = 10.0


@attrs.frozen(kw_only=True)
class LoopParts:
    """What a loop is put together from; the same for all runs of an agent."""

    settings: AgentSettings
    hooks: Hooks
    tools: Mapping[str, Tool]
    tool_limits: ToolLimits
    approval_timeout_seconds: float | None
    approval_default: ApprovalDefault
    transcripts: TranscriptCache
    coalesce_seconds: float
    window: ContextWindow
    gauges: GaugeCache
    prices: Prices | None


def loop_parts(
    *,
    settings: AgentSettings,
    tools: Iterable[Tool | ToolFunction],
    tool_limits: ToolLimits | None,
    hooks: Hooks | None,
    approval_timeout_seconds: float | None,
    approval_default: ApprovalDefault,
    coalesce_seconds: float,
    context_window: ContextWindow | None,
    prices: Prices | None,
) -> LoopParts:
    """The parts of an agent's loop. Raises InvalidArgument, naming what is wrong."""
    check_timeout("approval_timeout_seconds", approval_timeout_seconds)
    check_approval_default(approval_default)
    check_prices(prices)
    return LoopParts(
        settings=settings,
        tools=tools_by_name(tools),
        tool_limits=tool_limits or ToolLimits(),
        hooks=hooks or Hooks(),
        approval_timeout_seconds=approval_timeout_seconds,
        approval_default=approval_default,
        coalesce_seconds=check_coalesce_seconds(coalesce_seconds),
        window=context_window or ContextWindow(),
        gauges=GaugeCache(),
        prices=prices,
        transcripts=TranscriptCache(),
    )


def _whole(minimum: int) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not int or value < minimum:
            raise InvalidArgument(
                f"{attribute.name} must be a whole number of at least {minimum}, not {value!r}"
            )

    return check


def _seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise InvalidArgument(
            f"{attribute.name} must be a number of seconds above 0, not {value!r}"
        )


@attrs.frozen(kw_only=True)
class ClientLimits:
    """Bounds of the requests. Raises InvalidArgument for values outside of their ranges.

    ``retries_max`` is how often the SDK asks again before an answer begins; ``stall_seconds_max``
    how long it may be silent; ``max_tokens`` how long an answer may be, None if the provider knows.
    """

    max_tokens: int | None = attrs.field(validator=attrs.validators.optional(_whole(1)))
    retries_max: int = attrs.field(validator=_whole(0))
    stall_seconds_max: float = attrs.field(validator=_seconds)
    connect_seconds_max: float = attrs.field(default=CONNECT_SECONDS_MAX, validator=_seconds)
