from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from moorage.adapters.gateways.chosen_store import StoreChoice
from moorage.adapters.gateways.options import (
    Before,
    chosen_directory,
    chosen_store,
    configuration_file,
    said_store,
)

A, B = Path("a"), Path("b")


def context(**before: Any) -> Any:
    return SimpleNamespace(obj=Before(**before))


@pytest.mark.parametrize(
    ("before", "behind", "chosen"),
    [
        ({"data": A}, B, B),
        ({"data": A}, None, A),
        ({"data_in_environment": A}, None, A),
        ({"data_in_environment": A}, B, B),
        ({"spec_in_environment": "sqlite:x"}, A, A),
        ({"spec_in_environment": "sqlite:x", "data": A}, None, A),
        ({}, None, Path("moorage-data")),
    ],
)
def test_a_directory_behind_the_command_beats_one_before_it(before, behind, chosen):
    assert chosen == chosen_directory(context(**before), behind)


@pytest.mark.parametrize(
    ("before", "behind", "chosen"),
    [
        ({}, "sqlite:a", StoreChoice(None, "sqlite:a")),
        ({"spec": "sqlite:a"}, None, StoreChoice(None, "sqlite:a")),
        ({"spec": "sqlite:a"}, "sqlite:b", StoreChoice(None, "sqlite:b")),
        ({"data_in_environment": A}, "sqlite:b", StoreChoice(None, "sqlite:b")),
        (
            {"spec_in_environment": "sqlite:a"},
            None,
            StoreChoice(None, "sqlite:a", is_remembered=True),
        ),
        ({"keys": B}, "sqlite:a", StoreChoice(None, "sqlite:a", B)),
    ],
)
def test_a_store_is_chosen_in_the_same_order(before, behind, chosen):
    assert chosen == chosen_store(context(**before), None, behind)


@pytest.mark.parametrize(
    ("before", "data", "store"),
    [
        ({}, A, "sqlite:a"),
        ({"data": A}, None, "sqlite:a"),
        ({"spec": "sqlite:a"}, A, None),
        ({"data_in_environment": A, "spec_in_environment": "sqlite:a"}, None, None),
    ],
)
def test_a_directory_and_a_store_together_are_refused(before, data, store):
    with pytest.raises(typer.BadParameter, match=r"say either|are both set"):
        chosen_store(context(**before), data, store)


def test_what_works_on_journals_alone_refuses_another_store():
    with pytest.raises(typer.BadParameter, match="for journals"):
        chosen_directory(context(spec="sqlite:a"), None)


def test_options_before_a_command_and_the_environment_are_told_apart(filled, tmp_path):
    before = filled("--data", str(filled.data), "sessions", "--json")
    behind = filled("--store", f"journal:{filled.data}", "sessions", "--json")
    filled.environment = {"MOORAGE_STORE": f"journal:{filled.data}"}
    remembered = filled("sessions", "--json")
    other = filled("sessions", "--data", str(tmp_path / "other"), code=1)
    refused = filled("--data", str(tmp_path), "sessions", "--store", "journal:x", code=2)
    filled.environment["MOORAGE_DATA"] = "x"
    both = filled("sessions", code=2)

    assert before.stdout == behind.stdout == remembered.stdout
    assert "there is no directory" in other.stderr
    assert "say either this or --data" in refused.stderr
    assert "MOORAGE_DATA and MOORAGE_STORE are both set" in both.stderr


def settings(directory, text):
    pytest.importorskip("yaml")
    path = directory / "moorage.yaml"
    path.write_text(text)
    return path


def test_every_command_takes_its_store_from_a_file_of_settings(filled, tmp_path):
    expected = filled("sessions", "--json").stdout
    file = settings(
        tmp_path, "store: {spec: data, options: {durability: buffered}}\ngateway: {nonsense: 1}\n"
    )
    filled.environment = {}
    before = filled("--config", str(file), "sessions", "--json")
    filled.environment = {"MOORAGE_CONFIG": str(file)}
    remembered = filled("sessions", "--json")
    missing = filled("sessions", "--data", str(tmp_path / "other"), code=1)
    filled.environment["MOORAGE_STORE"] = f"journal:{tmp_path / 'nowhere'}"
    beaten = filled("sessions", code=1)

    assert expected == before.stdout == remembered.stdout
    assert "there is no directory" in missing.stderr
    assert "nowhere" in beaten.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("store: {spec: 'nosuch:x'}", "is no kind of store"),
        ("store: {spek: x}", "is spec meant?"),
        ("store: {options: {schema: x}}", "is no option of journal"),
        ("- a", "expected sections"),
    ],
)
def test_a_file_whose_store_is_wrong_is_a_mistake_of_usage(moorage, tmp_path, text, why):
    moorage.environment = {"MOORAGE_CONFIG": str(settings(tmp_path, text)), "COLUMNS": "400"}

    assert why in moorage("sessions", code=2).stderr


@pytest.mark.parametrize("command", [["sessions"], ["tokens", "list"], ["serve"]])
def test_a_file_of_settings_that_cannot_be_read_is_no_mistake_of_usage(moorage, tmp_path, command):
    pytest.importorskip("yaml")
    missing = tmp_path / "missing.yaml"
    moorage.environment = {}
    result = moorage("--config", str(missing), *command, code=1)

    told = f"moorage: {missing}: it cannot be read: No such file or directory\n"
    assert result.stderr == told


def test_a_store_of_a_file_is_named_again_from_anywhere(tmp_path):
    file = settings(tmp_path, "store: {spec: 'sqlite:a.db', keys: k.json}")
    choice = chosen_store(context(config=file), None)
    remembered = chosen_store(context(config_in_environment=file), None)

    assert choice.arguments == [
        *("--store", f"sqlite:{tmp_path}/a.db"),
        *("--keys", str(tmp_path / "k.json")),
    ]
    assert (choice.is_remembered, remembered.is_remembered) == (False, True)


@pytest.mark.parametrize("arguments", [["--store", "nosuch:x"], ["--store", "mysql://h/db"]])
def test_what_names_no_store_is_a_mistake_of_usage(moorage, arguments):
    moorage.environment = {"COLUMNS": "400"}
    before, behind = [*arguments, "sessions"], ["sessions", *arguments]
    moorage(*before, code=2)
    moorage(*behind, code=2)
    moorage("serve", "--agent", "echo", *arguments, code=2)
    moorage.environment["MOORAGE_STORE"] = arguments[1]

    assert "store" in moorage("sessions", code=2).stderr


def test_what_stands_before_serve_counts_as_options():
    before = context(spec="sqlite:a", keys_in_environment=B)
    directory = said_store(context(keys=A), B, None, None)

    assert said_store(before, None, None, None) == {
        "store.spec": ("--store", "sqlite:a"),
        "store.keys": ("--keys", None),
    }
    assert directory == {"store.spec": ("--data", "journal:b"), "store.keys": ("--keys", "a")}


def test_the_file_behind_a_command_beats_one_before_it():
    before = context(config=A, config_in_environment=B)

    assert configuration_file(before, Path("c")) == Path("c")
    assert configuration_file(before) == A
    assert configuration_file(context(config_in_environment=B)) == B
    assert configuration_file(context()) is None
