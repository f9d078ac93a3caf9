"""What every agent of a provider can be told: model, system prompt, permissions and so on.

A run's own options beat the overrides that it was submitted under, which beat the agent's
constructor, which beats what the session recorded, which beats the provider's default. None means
"not said here".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.overrides import current_overrides

PermissionMode = Literal[
    "default", "accept_edits", "plan", "full_auto", "dangerously_skip_permissions"
]
Continuation = Literal["none", "auto", "replay", "native"]

OPTIONS = (
    "model",
    "system_prompt",
    "working_directory",
    "turns_max",
    "permission_mode",
    "continuation",
    "provider_options",
)
"""What a run's input may set under ``options``. Not the environment: inputs are recorded, and
variables hold secrets."""
RECORDED = tuple(name for name in OPTIONS if name != "provider_options")
"""What a session remembers for its next run."""


def _text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if type(value) is not str or "\0" in value or not value.strip():
        raise InvalidArgument(f"{attribute.name} must be None or a text, not {value!r}")


def _count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidArgument(
            f"{attribute.name} must be None or a whole number of at least 1, not {value!r}"
        )


def _choice(*choices: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None and value not in choices:
            raise InvalidArgument(
                f"{attribute.name} must be None or one of {', '.join(choices)}, not {value!r}"
            )

    return check


def _variables(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    for name, text in _items(attribute.name, value):
        if not name or "=" in name or "\0" in name:
            raise InvalidArgument(
                f"{attribute.name} has the name {name!r}: it must be a text without '=' and NUL"
            )
        if text is not None and (type(text) is not str or "\0" in text):
            raise InvalidArgument(
                f"{attribute.name}[{name!r}] must be a text without NUL, or None to leave it out"
            )


def _options(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _items(attribute.name, value)


def _items(what: str, value: object) -> list[tuple[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        raise InvalidArgument(
            f"{what} must be None or a map with text keys, not a {type(value).__name__}"
        )
    # the names alone: values may be secrets, and a run's error is recorded
    if wrong := [name for name in value if type(name) is not str]:
        raise InvalidArgument(
            f"{what} must be None or a map with text keys, and has the key {wrong[0]!r}"
        )
    return list(value.items())


def _path(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _copy(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


@attrs.frozen(kw_only=True)
class AgentSettings:
    """What was said in one place; None is what was not. Raises InvalidArgument for bad values.

    ``environment`` sets variables of the provider's program, or leaves one out where it is None;
    ``turns_max`` bounds how often the model is asked in one run; ``provider_options`` go to the
    provider as they are.
    """

    model: str | None = attrs.field(default=None, validator=_text)
    system_prompt: str | None = attrs.field(default=None, validator=_text)
    working_directory: str | None = attrs.field(default=None, converter=_path, validator=_text)
    environment: Mapping[str, str | None] | None = attrs.field(
        default=None, converter=_copy, validator=_variables, repr=False
    )
    turns_max: int | None = attrs.field(default=None, validator=_count)
    permission_mode: PermissionMode | None = attrs.field(
        default=None, validator=_choice(*get_args(PermissionMode))
    )
    continuation: Continuation | None = attrs.field(
        default=None, validator=_choice(*get_args(Continuation))
    )
    provider_options: Mapping[str, Any] | None = attrs.field(
        default=None, converter=_copy, validator=_options, repr=False
    )

    @classmethod
    def from_options(cls, options: object) -> AgentSettings:
        """Settings from a plain map, such as ``options`` of a run's input or what was recorded.

        Raises InvalidArgument for what is no map, for unknown names and for bad values.
        """
        if options is None:
            return cls()
        values = dict(_items("options", options))
        if "environment" in values:
            raise InvalidArgument(
                "options may not have an environment, since a run's input is recorded: give it to "
                "the agent's constructor"
            )
        unknown = sorted(values.keys() - set(OPTIONS))
        if unknown:
            raise InvalidArgument(
                f"options has {', '.join(map(repr, unknown))}: known are {', '.join(OPTIONS)}"
            )
        return cls(**values)

    def merged(self, over: AgentSettings) -> AgentSettings:
        """These, with what ``over`` says in front; the two maps are merged key by key."""
        values: dict[str, Any] = {}
        for field in attrs.fields(AgentSettings):
            below, above = getattr(self, field.name), getattr(over, field.name)
            if isinstance(below, Mapping) and isinstance(above, Mapping):
                values[field.name] = {**below, **above}
            else:
                values[field.name] = below if above is None else above
        return AgentSettings(**values)

    def recorded(self) -> dict[str, Any]:
        """What was said, as plain data that ``from_options`` reads: without the environment and
        ``provider_options``, either of which may hold secrets."""
        return {name: getattr(self, name) for name in RECORDED if getattr(self, name) is not None}


def changes_to_record(
    settings: AgentSettings, recorded: Mapping[str, Any], *, provider: str, **more: Any
) -> dict[str, Any]:
    """The data of a ``conversation_configured`` event: what differs from what the session has
    recorded, empty if nothing does. ``more`` are facts beside the settings, such as tools."""
    now = settings.recorded() | {"provider": provider} | more
    return {name: value for name, value in now.items() if recorded.get(name) != value}


def resolve(
    settings: AgentSettings, request_input: object, recorded: object, *, provider: str
) -> AgentSettings:
    """What holds for one run: its input's ``options`` over the current overrides over ``settings``
    over ``recorded`` (a map as ``changes_to_record`` makes them, or None). The model that another
    provider's agent was given is none for this one.

    Raises InvalidArgument for bad options in the input and bad overrides. Overrides are for all
    agents, and what was recorded may come from a newer version: names that are unknown there are
    passed over.
    """
    options = request_input.get("options") if isinstance(request_input, Mapping) else None
    overrides = {name: value for name, value in current_overrides().items() if name in OPTIONS}
    before = recorded if isinstance(recorded, Mapping) else {}
    known = {name: before[name] for name in RECORDED if name in before}
    if before.get("provider", provider) != provider:
        known.pop("model", None)
    return (
        AgentSettings.from_options(known)
        .merged(settings)
        .merged(AgentSettings.from_options(overrides))
        .merged(AgentSettings.from_options(options))
    )


def child_environment(environment: Mapping[str, str | None] | None) -> dict[str, str]:
    """The variables of this process with ``environment`` over them, as a program gets them."""
    variables: dict[str, str | None] = {**os.environ, **(environment or {})}
    return {name: value for name, value in variables.items() if value is not None}
