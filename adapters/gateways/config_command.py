"""``moorage config``: is a file of settings right, what counts, and what could be said."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from moorage.adapters.sinks.text import one_line

from .frame import EXIT_FAILED, configure_logging, note, perform, write
from .options import AsJson, configuration_file
from .serve_command import configuration_package, made_service
from .tables import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Check, show and describe settings of `serve`.")

SettingsFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="YAML or TOML; without, what --config before the command or MOORAGE_CONFIG names.",
        show_default=False,
    ),
]


@app.command()
def check(context: typer.Context, file: SettingsFile = None, as_json: AsJson = False) -> None:
    """Say all that is wrong with settings, the environment's too; exit code 1 if anything is.

    As a server would at its start: agents' modules are imported, files of tokens and keys are
    read, but no store is opened.
    """
    perform(lambda: _check(configuration_file(context, file), as_json))


async def _check(file: Path | None, as_json: bool) -> int | None:
    package = configuration_package()
    problems: tuple[Any, ...] = ()
    try:
        made_service(package.load_configuration(file))
    except package.ConfigurationInvalid as invalid:
        problems = invalid.problems
    configure_logging()
    if as_json:
        show_json(
            [
                {"place": problem.place, "path": problem.path, "problem": problem.text}
                for problem in problems
            ]
        )
    else:
        for problem in problems:
            note(str(problem))
    if not problems:
        note(f"{_told(file)}: nothing is wrong")
    return EXIT_FAILED if problems else None


@app.command()
def show(
    context: typer.Context,
    file: SettingsFile = None,
    given: Annotated[bool, typer.Option("--given", help="Only what is not a default.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what counts, and where each setting is from. Secrets are not shown.

    A value that a variable or a file gives is shown as it is written there. Exit code 1 if
    anything is wrong, after what can be shown.
    """
    perform(lambda: _show(configuration_file(context, file), given, as_json))


async def _show(file: Path | None, given: bool, as_json: bool) -> int | None:
    loaded = configuration_package().load_configuration(file)
    settings = [
        setting for setting in loaded.effective() if not given or setting.source.kind != "default"
    ]
    if as_json:
        show_json(
            [{"path": one.path, "value": one.shown, "source": one.source.name} for one in settings]
        )
    else:
        rows = [[one.path, _value(one.shown), one.source.name] for one in settings]
        show_table(["SETTING", "VALUE", "SOURCE"], rows, full=["SETTING", "SOURCE"])
    for problem in loaded.problems:
        note(str(problem))
    return EXIT_FAILED if loaded.problems else None


@app.command()
def schema() -> None:
    """Write a JSON Schema of the file, by which editors complete and check it."""

    async def body() -> None:
        configuration_package()
        from .configuration.describing import json_schema

        write(json.dumps(json_schema(), indent=2) + "\n")

    perform(body)


def _told(file: Path | None) -> str:
    return "the environment" if file is None else str(file)


def _value(shown: Any) -> str:
    if isinstance(shown, str):
        return one_line(shown)
    return "" if shown is None else json.dumps(shown)
