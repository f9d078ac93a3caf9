"""Settings that a host puts around a block, and that the runs submitted in it see.

They travel in the run's metadata: the log keeps them, so they hold for every attempt, after a
restart, on another node, and over HTTP. What is set for a run holds for the runs that it submits.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .arguments import check_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .events import Data

METADATA_KEY = "moorage_overrides"
"""Where a run's metadata has them."""

_NONE: Mapping[str, Data] = MappingProxyType({})
overrides_in_context: ContextVar[Mapping[str, Data]] = ContextVar(METADATA_KEY, default=_NONE)
"""Set around each agent's task by the runtime, to what the run was submitted with."""


@contextmanager
def overriding(**settings: Data) -> Iterator[None]:
    """Runs that are submitted in this block, by this task and those that it starts, are executed
    with these settings: ``with overriding(model="small", working_directory="/srv/a"): ...``

    Agents find them with ``current_overrides``; those of providers heed the names of their
    options, between a run's own and what the agent was made with. An inner block beats an outer
    one name by name, and None takes a name back. Values are plain data, they are recorded with
    the run, and together with its other metadata may have 16,384 bytes. Raises InvalidArgument
    and RecordTooLarge.
    """
    given = check_metadata(settings) or {}
    token = overrides_in_context.set(_without_none({**overrides_in_context.get(), **given}))
    try:
        yield
    finally:
        overrides_in_context.reset(token)


def current_overrides() -> Mapping[str, Data]:
    """The settings that hold here: in a run those that it was submitted with, and what blocks
    around this code set. It is found wherever ``current_run`` is."""
    return overrides_in_context.get()


def overrides_of(metadata: Mapping[str, Any] | None) -> Mapping[str, Data]:
    """The settings that a run with that metadata was submitted with."""
    found = (metadata or {}).get(METADATA_KEY)
    return _without_none(found) if isinstance(found, dict) else _NONE


def with_overrides(metadata: Any) -> Any:
    """Metadata for a run that is submitted here. What it says itself counts for more. What is no
    map stays as it is, for others to refuse."""
    current = overrides_in_context.get()
    if not current or (metadata is not None and type(metadata) is not dict):
        return metadata
    given = metadata or {}
    return {**given, METADATA_KEY: {**current, **overrides_of(given)}}


def _without_none(settings: Mapping[str, Data]) -> Mapping[str, Data]:
    return MappingProxyType({name: value for name, value in settings.items() if value is not None})
