from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import structlog
import trio
import typer
from moorage.adapters.gateways.frame import (
    CommandFailed,
    Terminated,
    bare,
    configure_logging,
    perform,
    write_soon,
)


def code_of(error: BaseException | int | None) -> int:
    async def body() -> int | None:
        await trio.lowlevel.checkpoint()
        if isinstance(error, BaseException):
            raise error
        return error

    with pytest.raises(typer.Exit) as left:
        perform(body)
    return left.value.exit_code


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (None, 0),
        (0, 0),
        (1, 1),
        (CommandFailed("no"), 1),
        (OSError(28, "no room", "file"), 1),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (BaseExceptionGroup("", [CommandFailed("no"), KeyboardInterrupt()]), 130),
        (ExceptionGroup("", [ExceptionGroup("", [CommandFailed("no")])]), 1),
    ],
)
def test_each_way_to_end_has_its_exit_code(end, code):
    assert code == code_of(end)


def test_a_refusal_is_one_line_on_standard_error(capsys):
    code_of(CommandFailed("there is no session 'x'"))

    assert capsys.readouterr() == ("", "moorage: there is no session 'x'\n")


def test_a_failing_file_is_named(capsys):
    code_of(OSError(28, "no room", "some/file"))

    assert capsys.readouterr().err == "moorage: some/file: no room\n"


def test_a_defect_of_ours_keeps_its_traceback():
    async def body() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        perform(body)


def test_what_ends_the_process_counts_more_than_what_failed():
    failed, interrupt = ValueError(), KeyboardInterrupt()

    assert interrupt is bare(BaseExceptionGroup("", [failed, BaseExceptionGroup("", [interrupt])]))


def test_warnings_of_the_runtime_go_to_standard_error(capsys):
    configure_logging()
    try:
        structlog.get_logger("moorage").warning("journal tail cut", bytes=7)
        structlog.get_logger("moorage").info("unimportant")
    finally:
        structlog.reset_defaults()

    assert (capsys.readouterr()) == (
        "",
        "moorage: level='warning' event='journal tail cut' bytes=7\n",
    )


async def test_nothing_is_written_for_no_text(capsys):
    await write_soon("")
    await write_soon("text")

    assert capsys.readouterr().out == "text"


def test_a_traceback_in_the_log_is_shown_as_it_is_and_below_its_line(capsys):
    configure_logging()
    try:
        with structlog.contextvars.bound_contextvars(run_id="r"):
            structlog.get_logger("moorage").warning("agent_raised", traceback="Traceback\n  here\n")
    finally:
        structlog.reset_defaults()

    assert capsys.readouterr().err.splitlines() == [
        "moorage: level='warning' event='agent_raised' run_id='r'",
        "Traceback",
        "  here",
    ]


def test_the_log_can_be_json_for_programs_and_say_more(capsys):
    configure_logging("info", "json")
    try:
        structlog.get_logger("moorage").info("http_serving", address="x", error=ValueError("no"))
        structlog.get_logger("moorage").debug("unimportant")
    finally:
        structlog.reset_defaults()

    out, err = capsys.readouterr()
    line = json.loads(err)
    assert (out, line.pop("timestamp")[-1]) == ("", "Z")
    assert line == {"level": "info", "event": "http_serving", "address": "x", "error": "no"}


def test_what_a_full_disk_did_not_take_has_no_last_word():
    ending = "from moorage.adapters.gateways.frame import settle_output\n"
    ending += "import sys\nsys.stdout.write('lost')\nsettle_output()\nsys.exit(1)"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", ending],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )

    assert (done.returncode, done.stderr) == (1, b"")
