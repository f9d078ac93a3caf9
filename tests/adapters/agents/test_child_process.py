"""What holds where the system gives less help, and what the agent's own tests do not reach."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess

import pytest
import trio
import trio.testing
from moorage.adapters.agents import ProcessLimitReached
from moorage.adapters.agents.child_process import Command, PipeReader, start_child
from moorage.runtime.errors import InvalidArgument

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def command(*arguments: str) -> Command:
    return Command(arguments, program=arguments[0], shell=False, cwd=None, environment=None)


async def start(*arguments: str):
    return await start_child(command(*arguments), pipe_grace_seconds=0.05)


async def test_without_process_descriptors_children_are_waited_for_all_the_same(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    child = await start("sh", "-c", "read line; exit 3")

    child.stdin.close()
    with trio.fail_after(10):
        await child.wait_exited()
    await child.end(grace_seconds=1)

    assert child.returncode == 3


async def test_a_kernel_without_process_descriptors_is_no_problem(monkeypatch):
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    child = await start("sleep", "600")

    await child.end(grace_seconds=10)

    assert child.returncode == -signal.SIGTERM


async def test_ending_reaps_but_only_then():
    child = await start("true")
    with trio.fail_after(10):
        await child.wait_exited()

    os.kill(child.pid, 0)  # a zombie that keeps its id
    await child.end(grace_seconds=1)

    assert child.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


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

    with trio.fail_after(10):
        while os.path.exists(f"/proc/{group}"):  # noqa: ASYNC240 - the watcher reaps it
            await trio.sleep(0.005)

    await child.end(grace_seconds=10)
