"""What a configuration describes, made: store, agents, limits, tokens, all checked before anything
is opened."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from moorage.adapters.sinks.webhook import AddressRules
from moorage.runtime import retention_policy
from moorage.runtime.errors import InvalidArgument, MoorageError

from ..frame import CommandFailed
from ..http.hosts import check_exposure, parse_bind
from ..http.tokens import TokenFile
from ..key_file import encrypted
from ..serve_telemetry import ServeTelemetry
from ..store_spec import parse_spec
from ..webhooks import WebhookFile
from .agent_options import agent_with
from .loading import MASK, ConfigurationInvalid, Loaded, in_order, is_hidden
from .structuring import Structuring, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime import RetentionPolicy
    from moorage.runtime.agents import Agent, Agents
    from moorage.runtime.ports import Store

    from .schema import AgentSection, RetentionSection

Made = TypeVar("Made")


class Building:
    """One configuration on its way to a server. Each method returns what it makes, or adds to the
    problems and returns None."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._given = Structuring([])
        self._given.givens = dict(loaded.givens)
        self.configuration = loaded.configuration

    def checked(self) -> None:
        """Raise ConfigurationInvalid if anything is wrong, with all that is."""
        problems = (*self._loaded.problems, *self._given.problems)
        if problems:
            raise ConfigurationInvalid(in_order(problems))

    def store(self) -> Store | None:
        """The store; constructing it does no I/O, but the file of keys is read."""
        section = self.configuration.store
        assert section.spec is not None, "loading puts one there"
        try:
            spec = parse_spec(section.spec)
        except CommandFailed as error:
            self._refuse(("store", "spec"), str(error))
            return None
        before = len(self._given.problems)
        for name, value in section.options.items():
            try:
                spec = spec.with_options({name: str(value)})
            except CommandFailed as error:
                self._refuse(("store", "options", name), str(error))
        if len(self._given.problems) > before:
            return None
        store: Store | None = None
        try:
            store = spec.load(must_exist=False)
        except CommandFailed as error:
            blamed = "options" if section.options else "spec"
            self._refuse(("store", blamed), str(error), is_usage=False)
        try:
            return store and encrypted(store, section.keys)
        except (CommandFailed, OSError) as error:
            self._refuse(("store", "keys"), str(error), is_usage=False)
        return None

    def agents(self) -> Agents | None:
        """All agents by name; what one single name stands for may itself be a mapping."""
        sections = self.configuration.agents
        if not sections:
            told = "an agent is needed: --agent SPEC, MOORAGE_AGENT, or a section of a file"
            self._refuse(("agents",), told)
            return None
        made: dict[str, Agent] = {}
        for name, section in sections.items():
            agent = self._agent(name, section)
            if isinstance(agent, Mapping):
                if len(sections) == 1:
                    return dict(agent)
                told = f"{section.agent!r} is a map of agents: it can only stand alone"
                self._refuse(("agents", name), told)
            elif agent is not None:
                made[name] = agent
        return made

    def _agent(self, name: str, section: AgentSection) -> Agents | None:
        path = ("agents", name)
        if not section.agent:
            self._refuse(path, "it says no agent: add one, like agent: package.module:function")
            return None
        try:
            return agent_with(
                section.agent,
                section.options,
                self._loaded.givens,
                (*path, "options"),
                self._given,
            )
        except (InvalidArgument, TypeError) as error:
            self._refuse(path, self._without_values(str(error), path))
        except Exception as error:  # of a user's module
            told = f"{section.agent!r} cannot be imported: {type(error).__name__}: {error}"
            self._refuse(path, self._without_values(told, path), is_usage=False)
        return None

    def _without_values(self, told: str, path: tuple[str, ...]) -> str:
        """What an agent says of its arguments, without what variables and files hold."""
        for given_path, given in self._loaded.givens.items():
            if given_path[: len(path)] == path and is_hidden(given_path, given):
                for value in _leaves(given.value):
                    told = told.replace(value, MASK)
        return told

    def telemetry(self) -> ServeTelemetry:
        """What is told of the server; what it needs is installed."""
        section = self.configuration.telemetry
        told = ServeTelemetry(
            metrics=section.metrics,
            otel=section.otel,
            otel_content=section.otel_content,
            audit=section.audit,
        )
        if section.audit is not None and not section.audit.parent.is_dir():
            why = f"there is no folder {str(section.audit.parent)!r}: make it"
            self._refuse(("telemetry", "audit"), why, is_usage=False)
        try:
            told.check()
        except CommandFailed as error:
            self._refuse(("telemetry",), str(error), is_usage=False)
        return told

    def retention(self) -> RetentionPolicy | None:
        """The policy, or None where nothing is said of one."""
        section = self.configuration.retention
        if not any(path[0] == "retention" for path in self._loaded.givens):
            return None
        before = len(self._given.problems)
        for number, rule in enumerate(section.rules):
            self._rule(number, rule)
        if len(self._given.problems) > before:
            return None
        return self._attempt(("retention",), lambda: retention_policy(_policy_data(section)))

    def _rule(self, number: int, rule: Any) -> None:
        told = _mistake_of(rule)
        if told is None:
            return
        mistakes = {_mistake_of(_whole(*entry)) for entry in rule.items()} - {None} or {told}
        for mistake in sorted(filter(None, mistakes)):
            self._refuse(("retention", f"rules[{number}]"), mistake)

    def tokens(self) -> TokenFile | None:
        """Who may ask; the file is read once now."""
        path = self.configuration.gateway.tokens
        file = None if path is None else TokenFile(path)
        if file is not None:
            try:
                file.load()
            except OSError as error:
                told = f"{shown(str(path))} cannot be read: {error.strerror or error}"
                if isinstance(error, FileNotFoundError):
                    # the same from any directory, whoever said where the file is
                    command = ["moorage", "tokens", "new", "NAME", "--tokens", str(path)]
                    told += f": {shlex.join(command)} makes it, with a first token"
                self._refuse(("gateway", "tokens"), told, is_usage=False)
            except MoorageError as error:
                self._refuse(("gateway", "tokens"), str(error), is_usage=False)
        return file

    def webhooks(self) -> WebhookFile | None:
        """The file of webhooks, read once now; and where they may go is a network."""
        gateway = self.configuration.gateway
        self._attempt(
            ("gateway", "webhook_networks"), lambda: AddressRules(gateway.webhook_networks)
        )
        file = None
        if gateway.webhooks is not None:
            file = WebhookFile(gateway.webhooks, limits=gateway.webhook_limits)
        if file is not None:
            try:
                file.webhooks()
            except OSError as error:
                told = f"{shown(str(gateway.webhooks))} cannot be read: {error.strerror or error}"
                self._refuse(("gateway", "webhooks"), told, is_usage=False)
            except MoorageError as error:
                self._refuse(("gateway", "webhooks"), str(error), is_usage=False)
        return file

    def bind(self) -> str:
        """Where to listen, which others may reach only if they need tokens."""
        gateway = self.configuration.gateway
        found = self._attempt(("gateway", "bind"), lambda: parse_bind(gateway.bind))
        if found is not None and not self._loaded.is_guess("gateway", "tokens"):
            try:
                check_exposure(found[0], has_auth=gateway.tokens is not None)
            except InvalidArgument as error:
                self._refuse(("gateway", "bind"), str(error), is_usage=False)
        return gateway.bind

    def _attempt(self, path: tuple[str, ...], make: Callable[[], Made]) -> Made | None:
        try:
            return make()
        except InvalidArgument as error:
            self._refuse(path, str(error))
            return None

    def _refuse(self, path: tuple[str, ...], text: str, *, is_usage: bool = True) -> None:
        if self._loaded.is_guess(*path):
            return
        self._given.problems.append(self._loaded.problem(path, text, is_usage=is_usage))


def _leaves(value: Any) -> list[str]:
    """The texts in a value, the longest first: none is left in part by another."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return sorted((text for one in value for text in _leaves(one)), key=len, reverse=True)
    return [str(value)] if str(value) else []


def _mistake_of(rule: Mapping[str, Any]) -> str | None:
    try:
        retention_policy({"rules": [rule]})
    except InvalidArgument as error:
        return str(error).removeprefix("rule 1: ")
    return None


def _whole(name: str, value: Any) -> dict[str, Any]:
    """A rule in which nothing can be wrong but this."""
    if name.startswith("events_") or (name == "action" and value == "trim"):
        return {"action": "trim", "events_keep_last": 0, name: value}
    return {"keep_newest": 0, name: value}


def _policy_data(section: RetentionSection) -> dict[str, Any]:
    return {
        "rules": section.rules,
        "exempt_tags": list(section.exempt_tags),
        "on_expiry": section.on_expiry,
        **({} if section.purge_after is None else {"purge_after": section.purge_after}),
    }
