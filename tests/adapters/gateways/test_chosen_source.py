"""A server or a store, never both by accident."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from pathlib import Path

import pytest
import typer
from moorage.adapters.gateways.chosen_source import chosen_source
from moorage.adapters.gateways.chosen_store import StoreChoice
from moorage.adapters.gateways.command_line import moorage as before
from moorage.adapters.gateways.options import DataDirectory, KeyFile, StoreSpec
from moorage.adapters.gateways.remote import Server, TokenFile, Url
from typer.testing import CliRunner

NOWHERE = "http://127.0.0.1:1"
SAID = {"--data": "d", "--store": "sqlite:x", "--keys": "k"}


@pytest.mark.parametrize("option", SAID)
@pytest.mark.parametrize("position", ["before", "behind"])
def test_a_server_and_a_store_are_not_both_said(moorage, option, position):
    said = [option, SAID[option]]
    arguments = ["sessions", "--url", NOWHERE]
    refused = moorage(*(said + arguments if position == "before" else arguments + said), code=2)

    assert "--url" in refused.stderr
    assert option in refused.stderr
    assert refused.stdout == ""


def test_a_token_is_for_a_server(moorage, tmp_path):
    refused = moorage("sessions", "--token-file", str(tmp_path), code=2).stderr

    assert "--token-file" in refused
    assert "MOORAGE_URL" in refused


@pytest.fixture
def chosen(monkeypatch):
    """What a command is given, with these variables and these arguments."""

    def chosen(*arguments, **environment):
        found = []
        app = typer.Typer()
        app.callback()(before)

        @app.command()
        def command(
            context: typer.Context,
            data: DataDirectory = None,
            store: StoreSpec = None,
            keys: KeyFile = None,
            url: Url = None,
            token_file: TokenFile = None,
        ) -> None:
            found.append(chosen_source(context, data, store, keys, url, token_file))

        for name in ("MOORAGE_URL", "MOORAGE_DATA", "MOORAGE_STORE", "MOORAGE_KEYS"):
            monkeypatch.delenv(name, raising=False)
        result = CliRunner().invoke(app, ["command", *arguments], env=environment)
        return found[0] if found else result.output

    return chosen


def test_the_environment_names_a_server_unless_a_store_is_said(chosen):
    assert chosen(MOORAGE_URL=NOWHERE) == Server(NOWHERE, None)
    assert chosen("--data", "d", MOORAGE_URL=NOWHERE) == StoreChoice(data=Path("d"))
    assert isinstance(chosen("--keys", "k", MOORAGE_URL=NOWHERE), StoreChoice)
    assert isinstance(chosen(MOORAGE_URL=""), StoreChoice)


def test_a_server_that_is_said_beats_what_the_environment_says(chosen):
    for variable in ("MOORAGE_DATA", "MOORAGE_STORE", "MOORAGE_KEYS"):
        assert chosen("--url", NOWHERE, **{variable: "x"}) == Server(NOWHERE, None)
    assert chosen(MOORAGE_URL=NOWHERE, MOORAGE_KEYS="x") == Server(NOWHERE, None)


@pytest.mark.parametrize("variable", ["MOORAGE_DATA", "MOORAGE_STORE"])
def test_an_environment_that_names_both_is_refused(chosen, variable):
    refused = chosen(MOORAGE_URL=NOWHERE, **{variable: "x"})

    assert "MOORAGE_URL" in refused
    assert variable in refused
