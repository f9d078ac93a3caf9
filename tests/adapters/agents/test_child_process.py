"""What holds where the system gives less help, and what the agent's own tests do not reach."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
import trio
import trio.testing
from moorage.adapters.agents import ProcessLimitReached
from moorage.adapters.agents.child_process import Command, PipeReader, start_child
from moorage.runtime.errors import InvalidArgument

from tests.adapters.agents.conftest import SECONDS_MAX

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def command(*arguments: str) -> Command:
    return Command(arguments, program=arguments[0], shell=False, cwd=None, environment=None)


async def start(*arguments: str):
    return await start_child(command(*arguments), pipe_grace_seconds=0.05)


async def test_without_process_descriptors_children_are_waited_for_all_the_same(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    child = await start("sh", "-c", "read line; exit 3")

    child.stdin.close()
    with trio.fail_after(SECONDS_MAX):
        await child.wait_exited()
    await child.end(grace_seconds=SECONDS_MAX)

    assert child.returncode == 3


async def test_a_kernel_without_process_descriptors_is_no_problem(monkeypatch):
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    child = await start("sleep", "600")

    await child.end(grace_seconds=SECONDS_MAX)

    assert child.returncode == -signal.SIGTERM


async def test_ending_reaps_but_only_then():
    child = await start("true")
    with trio.fail_after(SECONDS_MAX):
        await child.wait_exited()

    os.kill(child.pid, 0)  # a zombie that keeps its id
    await child.end(grace_seconds=SECONDS_MAX)

    assert child.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


LEAVER = """
import os, signal, sys, time
how, stubborn = sys.argv[1:]
if stubborn == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == "setsid":
    os.setsid()
elif how == "setpgid":
    os.setpgid(0, 0)
else:
    os.setpgid(0, os.getpgid(os.getppid()))
os.fork()
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["setsid", "setpgid", "join the parent's"])
@pytest.mark.parametrize("stubborn", ["stubborn", "obedient"])
async def test_a_program_that_has_left_its_group_is_ended_all_the_same(how, stubborn, wait_gone):
    child = await start(sys.executable, "-I", "-S", "-c", LEAVER, how, stubborn)
    said = b""
    with trio.fail_after(SECONDS_MAX):
        while said.count(b"\n") < 2:
            said += await child.stdout.receive()
    others = [int(word) for word in said.split() if int(word) != child.pid]

    if how == "join the parent's":  # nothing leads to them: they would use up the grace
        for pid in others:
            os.kill(pid, signal.SIGKILL)
    try:
        with trio.fail_after(2 * SECONDS_MAX):
            await child.end(grace_seconds=0.05 if stubborn == "stubborn" else SECONDS_MAX)

        number = signal.SIGKILL if stubborn == "stubborn" else signal.SIGTERM
        assert -number == child.returncode
        if how != "join the parent's":  # a group of its own leads to its children
            await wait_gone(*others)
    finally:
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_program_that_is_killed_takes_along_what_it_put_into_sessions_of_their_own(
    leaves, wait_gone
):
    code = (
        "import os, signal, subprocess, time\n"
        f"if {leaves}: os.setsid()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)"
    )
    child = await start(sys.executable, "-I", "-S", "-c", code)
    with trio.fail_after(SECONDS_MAX):
        command = int(await child.stdout.receive())
    try:
        await child.end(grace_seconds=0.05)

        assert child.returncode == -signal.SIGKILL
        await wait_gone(command)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)


async def test_a_program_in_its_group_is_told_to_end_once():
    """Programs take a second SIGTERM for impatience and leave their work undone."""
    code = (
        "import os, signal, time; count = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: count.append(1))\n"
        "print('ready', flush=True)\n"
        "while not count: time.sleep(0.005)\n"
        "time.sleep(0.1); os._exit(len(count))"
    )
    child = await start(sys.executable, "-I", "-S", "-c", code)
    with trio.fail_after(SECONDS_MAX):
        assert await child.stdout.receive() == b"ready\n"

    await child.end(grace_seconds=SECONDS_MAX)

    assert child.returncode == 1


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
async def test_a_shortage_is_an_error_worth_a_retry(monkeypatch, number):
    real = subprocess.Popen

    def refuse(arguments, **options):
        if arguments == ("true",):
            raise OSError(number, os.strerror(number))
        return real(arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", refuse)

    with pytest.raises(ProcessLimitReached, match="cannot start 'true' now"):
        await start("true")


async def test_an_argument_that_cannot_be_encoded_is_a_bad_argument():
    with pytest.raises(InvalidArgument, match="cannot be passed on"):
        await start("echo", "\ud800")


@pytest.fixture
async def pipe():
    read, write = os.pipe()
    reader = PipeReader(read, grace_seconds=0.05)
    yield reader, write
    reader.close()
    os.close(write)


async def test_a_pipe_that_somebody_else_holds_open_ends_after_the_grace(pipe):
    reader, write = pipe
    os.write(write, b"rest")

    reader.writers_died()

    assert await reader.receive() == b"rest"
    assert await reader.receive() == b""


async def test_the_last_words_are_read_although_we_were_held_up_for_the_whole_grace(pipe):
    reader, write = pipe
    os.write(write, b"last words")
    reader._grace_seconds = 0

    reader.writers_died()

    assert await reader.receive() == b"last words"
    assert await reader.receive() == b""


async def test_a_read_that_waits_already_ends_after_the_grace_too(pipe):
    reader, _ = pipe

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.discard)
        await trio.testing.wait_all_tasks_blocked()
        reader.writers_died()


async def test_after_its_writers_died_no_more_than_a_pipe_holds_is_read(pipe, monkeypatch):
    reader, write = pipe
    os.write(write, b"x" * 65_536)
    reader.writers_died()

    capacity = fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)
    read = len(await reader.receive())
    while read < 10 * capacity:
        os.write(write, b"y" * 4096)  # by somebody who left the group
        chunk = await reader.receive()
        if not chunk:
            break
        read += len(chunk)

    assert read <= 2 * capacity


async def test_where_the_system_does_not_tell_a_pipes_size_the_usual_one_counts(pipe, monkeypatch):
    reader, write = pipe
    monkeypatch.delattr(fcntl, "F_GETPIPE_SZ")
    os.write(write, b"x" * 65_536)
    reader.writers_died()

    assert len(await reader.receive()) == 65_536
    assert await reader.receive() == b""


async def test_the_process_that_held_the_groups_id_is_gone_while_the_child_runs(wait_gone):
    child = await start("sleep", "600")
    group = os.getpgid(child.pid)

    with trio.fail_after(SECONDS_MAX):
        while os.path.exists(f"/proc/{group}"):  # noqa: ASYNC240 - the watcher reaps it
            await trio.sleep(0.005)

    await child.end(grace_seconds=SECONDS_MAX)
