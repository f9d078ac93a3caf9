"""The demo from outside, shorter than usual, and what it does when something is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "moorage.adapters.gateways", "demo", "--seconds", "3"]
SECONDS_MAX = 120
CHECKER = [sys.executable, "-m", "moorage.adapters.gateways.demo.checker"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A demo that was kept; returns its directory and what it printed."""
    root = tmp_path_factory.mktemp("demo") / "kept"
    done = subprocess.run(
        [*DEMO, "--keep", str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root, done


def check(root):
    return subprocess.run([*CHECKER, str(root)], capture_output=True, text=True, check=False)


def test_the_demo_shows_the_kill_the_recovery_and_that_nothing_is_missing(told):
    _, done = told

    assert done.stderr == ""
    for text in ("kill -9", "after the kill, and runs programs", " 0 missing", "nothing was lost"):
        assert text in done.stdout
    assert done.stdout.count("✓") == 10
    assert "✗" not in done.stdout


def test_the_same_check_can_be_made_again(told):
    root, _ = told

    done = check(root)

    assert (done.returncode, done.stdout.count("ok "), done.stderr) == (0, 10, "")


def lose_a_run(lines):
    accepted = next(line for line in lines if line["what"] == "accepted")
    return [*lines, {**accepted, "run_id": "run_lost", "key": "lost"}]


def change_an_event(lines):
    at = next(at for at, line in enumerate(lines) if line["what"] == "event")
    return [*lines[:at], {**lines[at], "digest": "0" * 16}, *lines[at + 1 :]]


def skip_an_event(lines):
    # neither the first nor the last that a subscriber was given: the sessions' are mixed
    at = next(at for at, line in enumerate(lines) if line["what"] == "event" and line["seq"] == 3)
    return [*lines[:at], *lines[at + 1 :]]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lose_a_run, "run run_lost of"),
        (change_an_event, "is not what was seen"),
        (skip_an_event, "had a gap or a repeat"),
    ],
)
def test_a_defect_planted_into_the_record_makes_the_check_fail(told, tmp_path, edit, reason):
    root, _ = told
    for name in ("journal", "started"):
        (tmp_path / name).symlink_to(root / name)
    lines = [json.loads(line) for line in (root / "record.jsonl").read_text().splitlines()]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in edit(lines)))

    done = check(tmp_path)

    assert done.returncode == 1
    assert reason in done.stderr


def test_a_directory_that_is_in_use_is_refused(tmp_path):
    (tmp_path / "file").touch()

    done = subprocess.run(
        [*DEMO, "--keep", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "needs a new or empty directory" in done.stderr


def processes_with(text: bytes) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if text in (path / "cmdline").read_bytes() + (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_ended_half_way_it_leaves_no_process_and_no_directory(tmp_path, number, code):
    """After SIGKILL the directory stays, which nothing can prevent, but no process does."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert "serves 4 sessions" in process.stdout.readline()

    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=SECONDS_MAX)
    finally:
        process.kill()

    assert process.returncode == code, errors
    assert errors == ""
    deadline = time.monotonic() + SECONDS_MAX
    while left := processes_with(bytes(tmp_path)):
        assert time.monotonic() < deadline, left
    if number != signal.SIGKILL:
        assert os.listdir(tmp_path) == []


INTERRUPTING = """
import os, signal, sys
from trio._core._run import Runner
from moorage.adapters.gateways import command_line
from moorage.adapters.gateways.demo.screen import Screen

def say(self, text, style=""):
    original_say(self, text, style)
    if "serves 4" in text:
        Runner.reschedule = reschedule

def reschedule(self, *arguments):
    # the worst of all moments: a nursery counts the task already, and it has not begun
    if sys._getframe(1).f_code.co_name == "spawn_impl":
        Runner.reschedule = original_reschedule
        os.kill(os.getpid(), signal.SIGINT)
    original_reschedule(self, *arguments)

original_reschedule, original_say = Runner.reschedule, Screen.say
Screen.say = say
sys.argv = ["moorage", "demo", "--seconds", "3"]
command_line.main()
"""


def test_ctrl_c_while_a_task_is_being_started_ends_it_all_the_same(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING],
        capture_output=True, text=True, check=False, timeout=SECONDS_MAX, env=environment,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (130, ""), done.stdout
    assert os.listdir(tmp_path) == []
