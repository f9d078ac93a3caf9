"""Where the Codex program is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..provider.executables import find_executable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

REMEDY = "pip install 'moorage[codex]' brings one; or put codex on PATH, or give executable="


def find_codex(
    executable: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> str:
    """The path of Codex: ``executable`` if it is given, else the program that the extra ``codex``
    brings, else the one on PATH.

    Raises ProviderNotInstalled, with what to do, if there is none.
    """
    if executable is None:
        executable = _bundled()
    return find_executable(
        "codex",
        name="codex",
        variable=None,
        remedy=REMEDY,
        executable=executable,
        environment=environment,
    )


def _bundled() -> str | None:
    try:
        package = importlib.import_module("codex_cli_bin")
        return str(package.bundled_codex_path())
    except (ImportError, FileNotFoundError):
        return None
