"""What the faces for asyncio and for threads have in common."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moorage.runtime import SupervisorLimits
    from moorage.runtime.events import Data

    from .outbox import Outbox

Parameters = ParamSpec("Parameters")
Wrapped = TypeVar("Wrapped", covariant=True)


class MakesFace(Protocol[Wrapped]):
    """The class of a face."""

    def __call__(self, native: Any, portal: Any, /) -> Wrapped: ...


def facing(
    face: Callable[[], MakesFace[Wrapped]],
    method: Callable[Concatenate[Any, Parameters], Any],
) -> Callable[Concatenate[Any, Parameters], Wrapped]:
    """A method that waits for nothing, is called here and now, and whose result has a face;
    ``face()`` is its class, which may not be there yet."""
    name = method.__name__

    def faced(self: Any, *args: Any, **named: Any) -> Any:
        return face()(getattr(self._native, name)(*args, **named), self._portal)

    typed: Any = functools.wraps(method)(faced)
    return typed  # type: ignore[no-any-return]


class HostedContext:
    """The part of a run's context that is the same wherever its agent is executed."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._native = outbox.context

    @property
    def session_id(self) -> str:
        return self._native.session_id

    @property
    def run_id(self) -> str:
        return self._native.run_id

    @property
    def attempt(self) -> int:
        return self._native.attempt

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self._native.metadata

    @property
    def limits(self) -> SupervisorLimits:
        return self._native.limits

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See ``RunContext.emit_nowait``."""
        self._outbox.put_nowait(type, data, time_ns, metadata)
