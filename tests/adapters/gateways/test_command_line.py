from __future__ import annotations

import importlib.metadata
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

MOORAGE = str(Path(sys.executable).with_name("moorage"))
COMMANDS = (
    "demo", "run", "sessions", "status", "events", "export", "import", "delete", "verify",
    "salvage", "compact", "runs", "search", "usage",
)  # fmt: skip


def test_the_installed_command_tells_its_version():
    done = subprocess.run([MOORAGE, "--version"], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == (f"moorage {importlib.metadata.version('moorage')}\n", "")


def test_help_names_every_command(moorage):
    text = moorage("--help").stdout

    assert [command for command in COMMANDS if f" {command} " not in text] == []


def test_help_says_what_the_exit_codes_mean(moorage):
    text = " ".join(moorage("--help").stdout.split())

    assert "Exit codes: 0 it worked; 1 it failed or was refused" in text
    assert "2 the command line cannot be understood" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(moorage, command):
    assert "Usage:" in moorage(command, "-h").stdout


@pytest.mark.parametrize("command", ["chat", "run"])
def test_the_paragraphs_of_help_are_broken_at_the_edge_only(start, command):
    process = start("-m", "moorage.adapters.gateways", command, "-h", environment={"COLUMNS": "80"})
    lines = process.communicate(timeout=120)[0].split("\u256d")[0].splitlines()

    broken = [
        (line, after)
        for line, after in itertools.pairwise(lines)
        if after.strip() and line.strip() and len(line.rstrip()) + len(after.split()[0]) < 78
    ]

    assert len(lines) > 6
    assert broken == []


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_says_what_to_install(start, missing):
    without = f"import sys; sys.modules[{missing!r}] = None"
    begin = "from moorage.adapters.gateways.__main__ import main; main()"
    process = start("-c", f"{without}; {begin}")
    _, said = process.communicate(timeout=120)

    assert said == f"moorage: the command line needs {missing}: pip install 'moorage[cli]'\n"
    assert process.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["status"], ["sessions", "--tag", "x"], ["events", "a", "--nonsense"]],
)
def test_usage_errors_exit_with_two(moorage, arguments):
    result = moorage(*arguments, code=2)

    assert result.stdout == ""
    assert not moorage.data.exists()


def test_the_directory_may_stand_before_and_behind_the_command(filled, moorage, monkeypatch):
    elsewhere = ["--data", str(filled.data)]
    here = type(filled)(Path("nowhere"))

    assert here(*elsewhere, "sessions").stdout == filled("sessions").stdout
    assert here("sessions", *elsewhere).stdout == filled("sessions").stdout


def test_without_a_directory_it_is_moorage_data_in_the_current_one(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "MOORAGE_DATA"}
    for arguments in (["run", "-s", "a", "--agent", "echo", "x"], ["status", "a"]):
        subprocess.run(
            [MOORAGE, *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True
        )

    assert (tmp_path / "moorage-data").is_dir()


def test_a_reader_that_goes_away_ends_it_quietly(moorage, start):
    async def talk(request, context):
        for number in range(20_000):
            await context.emit("message_streamed", {"delta": f"{number}\n"})

    async def work(supervisor):
        await (await supervisor.session("a")).execute("x")

    moorage.fill(work, talk)
    process = start("-m", "moorage.adapters.gateways", "events", "a", "--data", str(moorage.data))
    process.stdout.readline()
    process.stdout.close()

    _, errors = process.stderr.read(), process.wait()
    assert (process.returncode, _) == (141, "")
    assert errors == 141


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["demo", "--seconds", "1"]])
def test_where_nobody_reads_from_the_beginning_it_ends_quietly_too(start, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    process = start("-m", "moorage.adapters.gateways", *arguments, stdout=writing)
    os.close(writing)

    _, errors = process.communicate(timeout=120)

    assert (process.returncode, errors) == (141, "")


def test_ctrl_c_ends_following_quietly(moorage, owner, start):
    process = start(
        "-m", "moorage.adapters.gateways", "events", "live", "-f", "--data", str(moorage.data)
    )
    for _ in range(4):
        process.stdout.readline()

    process.send_signal(2)

    assert process.communicate() == ("", "")
    assert process.returncode == 130
    owner.tell("still there")
    owner.stop()


@pytest.mark.parametrize("command", ["sessions", "--version", "--help"])
def test_full_disks_under_the_output_are_told(filled, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [MOORAGE, "--data", str(filled.data), command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_has_every_command_in_a_panel(moorage):
    lines = moorage("--help").stdout.splitlines()
    panels = [line.split()[1] for line in lines if line.startswith("╭─")]

    assert panels == ["Options", "Talk", "Look", "Keep", "Serve"]


@pytest.mark.parametrize("command", ["runs", "sessions"])
def test_what_an_option_may_be_is_told_in_its_own_words(moorage, command):
    told = moorage(command, "--state", "opne", code=2).stderr

    assert "'opne' is not one of" in told
    assert "Value error" not in told
