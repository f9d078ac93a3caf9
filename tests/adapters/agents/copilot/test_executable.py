from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.adapters.agents.copilot.executable import find_copilot
from moorage.adapters.agents.provider.failures import ProviderNotInstalled

if TYPE_CHECKING:
    from pathlib import Path


def program(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_what_is_given_beats_the_variable_which_beats_the_path(tmp_path: Path) -> None:
    given, named = program(tmp_path / "a" / "x"), program(tmp_path / "b" / "y")
    installed = program(tmp_path / "c" / "copilot")
    variables = {"MOORAGE_COPILOT": named, "PATH": str(tmp_path / "c")}

    found = [
        find_copilot(given, variables),
        find_copilot(None, variables),
        find_copilot(None, {**variables, "MOORAGE_COPILOT": None}),
    ]

    assert found == [given, named, installed]


def test_without_any_the_remedy_is_told() -> None:
    with pytest.raises(ProviderNotInstalled, match="npm install"):
        find_copilot(None, {"PATH": "", "MOORAGE_COPILOT": None})
