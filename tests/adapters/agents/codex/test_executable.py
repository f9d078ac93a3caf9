from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from moorage.adapters.agents.codex.executable import find_codex
from moorage.adapters.agents.provider.failures import ProviderNotInstalled


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "codex"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def bundle(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    """The package that brings the program, with or without it."""

    class Bundle(ModuleType):
        def bundled_codex_path(self) -> Path:
            if path is None:
                raise FileNotFoundError("no codex in the package")
            return Path(path)

    monkeypatch.setitem(sys.modules, "codex_cli_bin", Bundle("codex_cli_bin"))


def test_what_is_given_beats_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    bundle(monkeypatch, "/nowhere/codex")

    assert find_codex(program) == program


def test_what_the_extra_brings_beats_the_path(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    bundle(monkeypatch, program)

    assert find_codex(None, {"PATH": ""}) == program


@pytest.mark.parametrize("installed", [True, False])
def test_without_it_the_path_is_searched(
    monkeypatch: pytest.MonkeyPatch, program: str, installed: bool
) -> None:
    if installed:
        bundle(monkeypatch, None)
    else:
        monkeypatch.setitem(sys.modules, "codex_cli_bin", None)

    assert find_codex(None, {"PATH": str(Path(program).parent)}) == program


def test_without_any_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle(monkeypatch, None)

    with pytest.raises(ProviderNotInstalled, match=r"moorage\[codex\]"):
        find_codex(None, {"PATH": ""})
