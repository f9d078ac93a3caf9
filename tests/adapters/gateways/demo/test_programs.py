from __future__ import annotations

import subprocess

import pytest
from moorage.adapters.gateways.demo import programs
from moorage.runtime import RunRequest


def command(session_id, number, scratch):
    input = programs.input_of(session_id, number)
    request = RunRequest(input=input, session_id=session_id, run_id="r")
    return programs.command_of(request, scratch)


@pytest.mark.parametrize("session_id", programs.SESSIONS)
def test_the_programs_of_every_session_run_and_say_something(session_id, tmp_path):
    done = subprocess.run(
        command(session_id, 0, tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert len(done.stdout.splitlines()) > 3
    assert done.stderr == ""


def test_the_compiler_writes_only_below_the_scratch_directory(tmp_path):
    done = subprocess.run(
        command("compiler", 0, tmp_path), capture_output=True, text=True, check=True
    )

    assert "Compiling" in done.stdout
    assert list(tmp_path.rglob("*.pyc"))


def test_without_the_tests_of_python_something_else_is_run(monkeypatch):
    monkeypatch.setattr(programs, "_tests_are_installed", lambda: False)

    assert programs.label_of(programs.input_of("tests", 0)) == "dis bisect"
