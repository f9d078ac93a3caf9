from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.agents.provider.executables import executable_version, find_executable
from moorage.adapters.agents.provider.failures import ProviderNotInstalled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\necho 1.2.3\n")
    path.chmod(0o700)
    return path


def find(**given: Any) -> str:
    arguments: dict[str, Any] = {"name": "tool", "variable": "TOOL", "remedy": "install it"}
    return find_executable("twin", **{**arguments, **given})


def test_what_is_given_beats_the_variable_and_that_beats_the_path(program: Path) -> None:
    path = {"PATH": str(program.parent)}

    assert find(environment=path) == str(program)
    assert find(environment={"TOOL": str(program), "PATH": "/none"}) == str(program)
    with pytest.raises(ProviderNotInstalled, match="named by executable="):
        find(executable="/none/tool", environment={**path, "TOOL": str(program)})
    with pytest.raises(ProviderNotInstalled, match="variable TOOL"):
        find(environment={**path, "TOOL": "/none/tool"})


def test_a_missing_program_is_told_with_what_to_do() -> None:
    with pytest.raises(ProviderNotInstalled, match=r"on PATH.*install it"):
        find(environment={"PATH": "/none", "TOOL": None})


def test_the_version_is_what_the_program_says(program: Path, tmp_path: Path) -> None:
    assert executable_version("twin", str(program)) == "1.2.3"

    for text in ("#!/bin/sh\nexit 3\n", "#!/none\n"):
        program.write_text(text)
        with pytest.raises(ProviderNotInstalled, match="does not tell its version"):
            executable_version("twin", str(program))
