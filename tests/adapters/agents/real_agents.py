"""Whether what the tests of a real agent need is installed.

They skip with a message where it is not. With MOORAGE_AGENTS_REQUIRED set they fail instead: a run
that was to show the real agents and skipped one has shown nothing.
"""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest

REQUIRED = "MOORAGE_AGENTS_REQUIRED"


def require(name: str) -> Any:
    """The module of that name. Skips, or fails, the test or the module that asks without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        _missing(f"the package with {name} is not installed: {error}")


def require_program(name: str, *, variable: str | None = None) -> str:
    """The path of the program of that name, or of the one that ``variable`` names, likewise."""
    named = os.environ.get(variable, "") if variable is not None else ""
    path = shutil.which(named or name)
    if path is None:
        where = f"named by {variable}" if named else "on PATH"
        _missing(f"there is no program {named or name} {where}")
    return path


def _missing(message: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{message}, and {REQUIRED} is set", pytrace=False)
    pytest.skip(f"{message}: make test-agents installs it", allow_module_level=True)
