"""Where the Copilot program is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..provider.executables import find_executable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

VARIABLE = "MOORAGE_COPILOT"
REMEDY = f"npm install -g @github/copilot, or give its path as executable= or in {VARIABLE}"


def find_copilot(
    executable: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> str:
    """The path of Copilot's command line: ``executable`` if it is given, else what the variable
    MOORAGE_COPILOT names, else the ``copilot`` on PATH.

    Raises ProviderNotInstalled, with what to do, if there is none.
    """
    return find_executable(
        "copilot",
        name="copilot",
        variable=VARIABLE,
        remedy=REMEDY,
        executable=executable,
        environment=environment,
    )
