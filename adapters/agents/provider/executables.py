"""Where a provider's program is, and of which version it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from .failures import ProviderNotInstalled
from .settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION_SECONDS = 30.0


def find_executable(
    provider: str,
    *,
    name: str,
    variable: str | None,
    remedy: str,
    executable: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> str:
    """The path of the program: ``executable`` if it is given, else what the environment variable
    ``variable`` says, else ``name`` on PATH.

    The environment is that of this process with ``environment`` over it. Raises
    ProviderNotInstalled, with ``remedy``, if there is no such program.
    """
    variables = child_environment(environment)
    asked, where = name, "on PATH"
    if executable is not None:
        asked, where = os.fspath(executable), "named by executable="
    elif variable is not None and variables.get(variable):
        asked, where = variables[variable], f"named by the variable {variable}"
    found = shutil.which(asked, path=variables.get("PATH", os.defpath))
    if found is None:
        raise ProviderNotInstalled(
            f"there is no program {asked!r} ({where}): {remedy}", provider=provider
        )
    return found


def executable_version(provider: str, path: str) -> str:
    """What the program says for ``--version``, for instance "0.74.2".

    Blocks for as long as the program takes. Raises ProviderNotInstalled if it cannot be run.
    """
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=VERSION_SECONDS,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProviderNotInstalled(
            f"{path!r} does not tell its version: {error}", provider=provider
        ) from error
    return done.stdout.strip()
