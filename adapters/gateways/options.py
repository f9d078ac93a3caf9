"""Options that several commands take."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer
from moorage.runtime import InvalidArgument, MoorageError

from . import data_directory, key_file
from .chosen_store import StoreChoice
from .frame import EXIT_FAILED, CommandFailed, note
from .store_spec import FORMS, parse_spec, spec_with_options

STORE_VARIABLE = "MOORAGE_STORE"

# Variables are read by the options before the command only, or they would beat those.
DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help=f"Where the journal is (or {data_directory.VARIABLE} says it).",
        show_default=str(data_directory.DEFAULT),
    ),
]
DataDirectoryBefore = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar=data_directory.VARIABLE,
        help="Where the journal is; may stand behind the command, too.",
        show_default=str(data_directory.DEFAULT),
    ),
]
StoreSpec = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="SPEC",
        help=f"Another store than --data: {FORMS} (or {STORE_VARIABLE} says it, which keeps "
        "passwords out of lists of processes).",
    ),
]
StoreSpecBefore = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="SPEC",
        envvar=STORE_VARIABLE,
        help="Another store than --data; may stand behind the command, too.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help=f"The keys of an encrypted store (or {key_file.VARIABLE} says it).",
    ),
]
KeyFileBefore = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        envvar=key_file.VARIABLE,
        help="The keys of an encrypted store; may stand behind the command, too.",
    ),
]
CONFIG_VARIABLE = "MOORAGE_CONFIG"
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"Settings, in YAML or TOML (or {CONFIG_VARIABLE} names the file).",
    ),
]
ConfigFileBefore = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        help="Settings, in YAML or TOML; every command takes its store from there.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session.")]


@attrs.frozen
class Before:
    """What stands before a command (``data``, ``spec``, ``keys``, ``config``), or in the
    environment."""

    data: Path | None = None
    spec: str | None = attrs.field(default=None, repr=False)
    keys: Path | None = None
    data_in_environment: Path | None = None
    spec_in_environment: str | None = attrs.field(default=None, repr=False)
    keys_in_environment: Path | None = None
    config: Path | None = None
    config_in_environment: Path | None = None

    @classmethod
    def of(
        cls,
        context: typer.Context,
        data: Path | None,
        spec: str | None,
        keys: Path | None,
        config: Path | None = None,
    ) -> "Before":
        """What the callback before all commands was given."""
        given: dict[str, Any] = {"data": data, "spec": spec or None, "keys": keys, "config": config}
        return cls(
            **{
                f"{name}_in_environment" if is_set(context, name) else name: value
                for name, value in given.items()
            }
        )


def is_set(context: typer.Context, name: str) -> bool:
    """Whether a parameter's value comes from the environment."""
    source = context.get_parameter_source("store" if name == "spec" else name)
    return source is not None and source.name == "ENVIRONMENT"


def _before(context: typer.Context) -> Before:
    return context.obj if isinstance(context.obj, Before) else Before()


def configuration_file(context: typer.Context, config: Path | None = None) -> Path | None:
    """The file of settings: behind the command, else before it, else in the environment."""
    before = _before(context)
    return config or before.config or before.config_in_environment


def _said(
    context: typer.Context, data: Path | None, store: str | None
) -> tuple[Path | None, str | None]:
    """What stands behind the command, else before it. Raises BadParameter for ``--data`` and
    ``--store`` together, and for what names no store."""
    before = _before(context)
    data, store = data or before.data, store or before.spec
    if data is not None and store is not None:
        raise typer.BadParameter("say either this or --data", param_hint="--store")
    if store is not None:
        check_spec(store, "--store")
    return data, store


def check_spec(spec: str, where: str) -> None:
    """Raises BadParameter for what names no store; ``where`` is the option that said it."""
    try:
        parse_spec(spec)
    except CommandFailed as error:
        raise typer.BadParameter(str(error), param_hint=where) from None


def said_store(
    context: typer.Context, data: Path | None, store: str | None, keys: Path | None
) -> dict[str, tuple[str, str | None]]:
    """The settings that those options give: (option, value) by path. Raises BadParameter."""
    data, store = _said(context, data, store)
    keys = keys or _before(context).keys
    spec = ("--store", store) if data is None else ("--data", f"journal:{data}")
    return {
        "store.spec": spec,
        "store.keys": ("--keys", None if keys is None else str(keys)),
    }


def chosen_store(
    context: typer.Context,
    data: Path | None,
    store: str | None = None,
    keys: Path | None = None,
) -> StoreChoice:
    """What stands behind the command, else before it, else in the environment, else in the file of
    settings, else the default directory. Raises BadParameter for what names no store, and where
    ``--data`` and ``--store`` are both said, and CommandFailed for a file that is wrong."""
    before = _before(context)
    said_data, said_spec = _said(context, data, store)
    keys = keys or before.keys or before.keys_in_environment
    if said_data is not None or said_spec is not None:
        return StoreChoice(said_data, said_spec, keys)
    if before.data_in_environment is not None and before.spec_in_environment is not None:
        raise typer.BadParameter(
            f"{data_directory.VARIABLE} and {STORE_VARIABLE} are both set: unset one",
            param_hint="--store",
        )
    if before.spec_in_environment is not None:
        check_spec(before.spec_in_environment, STORE_VARIABLE)
        return StoreChoice(None, before.spec_in_environment, keys, is_remembered=True)
    if before.data_in_environment is not None:
        return StoreChoice(before.data_in_environment, None, keys)
    file = configuration_file(context)
    if file is not None:
        return _configured_store(file, keys, is_remembered=before.config is None)
    return StoreChoice(data_directory.DEFAULT, None, keys)


def _configured_store(file: Path, keys: Path | None, *, is_remembered: bool) -> StoreChoice:
    from .serve_command import configuration_package  # it needs extras, and most commands do not

    try:
        loaded = configuration_package().load_configuration(file)
        section = loaded.checked_for("store").store
    except MoorageError as error:
        raise _refused_settings(error) from None
    spec = spec_with_options(section.spec, section.options)
    check_spec(spec, "--config")
    return StoreChoice(None, spec, keys or section.keys, is_remembered=is_remembered)


def configured_file(context: typer.Context, name: str, said: Path | None, default: Path) -> Path:
    """The file that an option says, else the setting ``gateway.<name>`` of the environment or the
    file of settings, else the default. Raises BadParameter for settings that are wrong."""
    found: Path | None = said or configured(context, name)
    return found or default


def configured(context: typer.Context, name: str) -> Any:
    """The setting ``gateway.<name>`` of the environment or the file of settings; None without.
    Raises BadParameter for settings that are wrong."""
    file = configuration_file(context)
    if file is None and f"MOORAGE_GATEWAY__{name.upper()}" not in os.environ:
        return None
    from .serve_command import configuration_package

    try:
        loaded = configuration_package().load_configuration(file)
        return getattr(loaded.checked_for("gateway").gateway, name)
    except MoorageError as error:
        raise _refused_settings(error) from None


def _refused_settings(error: MoorageError) -> typer.BadParameter | typer.Exit:
    """What to leave with, as ``moorage serve`` does: a file that cannot be read, or an extra that
    is not there, is no mistake of usage, and told like any other failure."""
    problems = getattr(error, "problems", ())
    if any(problem.is_usage for problem in problems):
        return typer.BadParameter(str(error), param_hint="--config")
    note(str(error))
    return typer.Exit(EXIT_FAILED)


@contextmanager
def values_of_options(*refusals: type[MoorageError]) -> Iterator[None]:
    """What is wrong with a value that the command line gave is a mistake of usage: InvalidArgument
    and these ``refusals`` become BadParameter."""
    refused: tuple[type[MoorageError], ...] = (InvalidArgument, *refusals)
    try:
        yield
    except refused as error:
        raise typer.BadParameter(str(error)) from None


def chosen_directory(context: typer.Context, data: Path | None) -> Path:
    """The journal's directory, for commands that work on nothing else. Raises BadParameter where
    another store is chosen."""
    choice = chosen_store(context, data)
    if choice.data is None:
        raise typer.BadParameter(
            "this command is for journals: name one with --data DIR", param_hint="--store"
        )
    return choice.data


def parsed_tags(tags: list[str], option: str = "--tag") -> dict[str, str]:
    """``--tag NAME=VALUE``, or another ``option`` of that kind. Raises BadParameter."""
    parsed: dict[str, str] = {}
    for text in tags:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
        parsed[name] = value
    return parsed
