"""The watcher's protocol, spoken to the program itself."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys

import pytest
from moorage.adapters.agents.watcher import PROGRAM

SECONDS_MAX = 60
"""Nothing here takes a second; a machine that is busy may take its time."""


class Spoken:
    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(SECONDS_MAX)
        self.heard = b""
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM)], stdin=theirs.fileno()
            )

    def say(self, *lines: str) -> None:
        self.ours.sendall("".join(f"{line}\n" for line in lines).encode())

    def answer(self) -> int:
        while b"\n" not in self.heard:
            self.heard += self.ours.recv(64)
        answer, _, self.heard = self.heard.partition(b"\n")
        return int(answer)

    def hang_up(self) -> int:
        self.ours.close()
        return self.process.wait(timeout=SECONDS_MAX)


@pytest.fixture
def program():
    program = Spoken()
    yield program
    program.ours.close()
    program.process.kill()
    program.process.wait()


@pytest.fixture
def sleeper():
    processes = []

    def start(group: int) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(["sleep", "600"], process_group=group))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_hanging_up_kills_every_group_that_is_not_done(program, sleeper):
    program.say("new", "new")
    watched, done = program.answer(), program.answer()
    killed, spared = sleeper(watched), sleeper(done)
    program.say(f"joined {watched}", f"joined {done}", f"done {done}")

    # the killed one is our child: the group lives on as a zombie until we have reaped it
    program.ours.close()

    assert killed.wait(timeout=SECONDS_MAX) == -signal.SIGKILL
    assert program.process.wait(timeout=SECONDS_MAX) == 0
    assert spared.poll() is None


SENDS_AWAY = """
import subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
middle = "import subprocess, time; print(subprocess.Popen(%r).pid, flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", middle % (sleeper,)], start_new_session=True)
time.sleep(600)
"""


async def test_what_a_child_sent_into_a_session_of_its_own_dies_with_it(program, wait_gone):
    program.say("new")
    group = program.answer()
    child = subprocess.Popen(  # noqa: ASYNC220 - as the other tests here do
        [sys.executable, "-c", SENDS_AWAY], process_group=group, stdout=subprocess.PIPE
    )
    program.say(f"joined {group}")
    assert child.stdout is not None
    sent_away = int(child.stdout.readline())

    program.hang_up()

    await wait_gone(sent_away)
    child.wait()
    child.stdout.close()


def test_a_group_made_elsewhere_can_be_watched(program, sleeper):
    process = sleeper(0)
    program.say(f"watch {process.pid}")

    program.ours.close()

    assert process.wait(timeout=SECONDS_MAX) == -signal.SIGKILL


def test_commands_may_arrive_in_pieces(program):
    program.ours.sendall(b"ne")
    program.ours.sendall(b"w\n")

    assert program.answer() > 0


def test_an_anchor_is_reaped_when_the_child_has_joined(program, sleeper):
    program.say("new")
    group = program.answer()
    sleeper(group)

    program.say(f"joined {group}", "new")
    program.answer()  # the answer comes after the anchor was reaped

    assert not os.path.exists(f"/proc/{group}")


def test_a_reserved_group_that_nobody_joined_leaves_no_zombie(program):
    program.say("new")
    group = program.answer()

    program.say(f"done {group}", "new")
    program.answer()

    assert not os.path.exists(f"/proc/{group}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_service_do_not_end_it(program, number):
    program.say("new")
    program.answer()

    program.process.send_signal(number)
    program.say("new")

    assert program.answer() > 0


def test_it_ends_at_once_when_nothing_is_left(program):
    assert program.hang_up() == 0


SENT_AWAY = """
import subprocess, sys, time
shell = [sys.executable, "-c", "import subprocess, time; subprocess.Popen(['sleep', '600']); "
         "print('started', flush=True); time.sleep(600)"]
subprocess.Popen(shell, start_new_session=True)
time.sleep(600)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not here: no /proc")
def test_what_a_member_started_in_a_session_of_its_own_dies_too(program):
    program.say("new")
    group = program.answer()
    command = [sys.executable, "-c", SENT_AWAY]
    with subprocess.Popen(command, process_group=group, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        program.say(f"joined {group}")

        program.ours.close()

        assert process.wait(timeout=SECONDS_MAX) == -signal.SIGKILL
        # the pipe ends with the last of those that write to it
        assert select.select([process.stdout], [], [], SECONDS_MAX)[0] == [process.stdout]
        assert process.stdout.read() == b""
    assert program.process.wait(timeout=SECONDS_MAX) == 0
