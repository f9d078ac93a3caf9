from __future__ import annotations

import sys

import pytest
import trio
import trio.testing
from moorage.adapters.agents.provider import line_process
from moorage.adapters.agents.provider.failures import (
    ProtocolViolated,
    ProviderExited,
    ProviderNotConfigured,
    ProviderNotInstalled,
)
from moorage.adapters.agents.provider.framing import LengthHeaders
from moorage.adapters.agents.provider.line_process import open_line_process
from moorage.runtime.errors import InvalidArgument
from structlog.testing import capture_logs

from tests.adapters.agents.conftest import SECONDS_MAX

PREAMBLE = """
import json, os, signal, sys, time
def say(**message): print(json.dumps(message), flush=True)
"""


def program(code, environment=None, cwd=None, **more):
    command = [sys.executable, "-c", PREAMBLE + code]
    return open_line_process(command, environment, cwd, provider="fake", **more)


async def read(process):
    with trio.fail_after(SECONDS_MAX):
        return [message async for message in process.messages()]


async def test_objects_go_in_and_come_out(leaves_nothing):
    code = "for line in sys.stdin: say(got=json.loads(line))"

    async with program(code) as process:
        await process.send({"text": "größe\n"})
        await process.send({"n": 2})
        process.close_input()
        messages = await read(process)

    assert messages == [{"got": {"text": "größe\n"}}, {"got": {"n": 2}}]


async def test_another_framing_serves_both_ways():
    code = """
head = sys.stdin.buffer.readline()
sys.stdin.buffer.readline()
body = sys.stdin.buffer.read(int(head.split(b":")[1]))
sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
"""

    async with program(code, framing=LengthHeaders) as process:
        await process.send({"text": "größe\n"})
        messages = await read(process)

    assert messages == [{"text": "größe\n"}]


async def test_variables_and_folder_are_those_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LEFT_OUT", "1")
    code = "say(a=os.environ['A'], out=os.environ.get('LEFT_OUT'), cwd=os.getcwd())"

    async with program(code, {"A": "1", "LEFT_OUT": None}, str(tmp_path)) as process:
        messages = await read(process)

    assert messages == [{"a": "1", "out": None, "cwd": str(tmp_path)}]


async def test_lines_that_are_no_objects_are_reported_and_passed_over():
    reported = []

    async def report(data):
        reported.append(data)

    code = "print('Loading...'); print(42); print('{\"a\": \"' + 'x' * 200 + '\"}'); say(ok=1)"
    async with program(code, on_garbage=report, line_bytes_max=100) as process:
        messages = await read(process)

    assert messages == [{"ok": 1}]
    assert reported[:2] == [{"line": "Loading..."}, {"line": "42"}]
    assert (reported[2]["truncated"], reported[2]["line_bytes"]) == (True, 210)
    assert len(reported[2]["line"]) == 100


async def test_lines_that_nobody_wants_are_logged():
    with capture_logs() as logs:
        async with program("print('Loading...')") as process:
            messages = await read(process)

    assert messages == []
    assert [(log["event"], log["line"]) for log in logs] == [
        ("provider_line_unreadable", "Loading...")
    ]


async def test_a_program_that_only_writes_garbage_is_given_up(monkeypatch, leaves_nothing):
    monkeypatch.setattr(line_process, "GARBAGE_LINES_MAX", 3)

    async def ignore(data):
        pass

    with pytest.raises(ProtocolViolated) as caught:
        async with program("for n in range(100): print('no', n)", on_garbage=ignore) as process:
            await read(process)

    assert "'no 3'" in str(caught.value)


async def test_a_death_is_told_with_exit_code_and_the_end_of_standard_error(leaves_nothing):
    code = "say(a=1); sys.stderr.write('x' * 100_000 + '\\nno such model\\n'); sys.exit(7)"
    messages = []

    with pytest.raises(ProviderExited) as caught:
        async with program(code, stderr_bytes_max=1000) as process:
            async for message in process.messages():
                messages.append(message)

    assert messages == [{"a": 1}]
    assert (caught.value.exit_code, caught.value.signal) == (7, None)
    assert len(caught.value.stderr) == 1000
    assert str(caught.value).endswith("ended with exit code 7: no such model")


async def test_a_death_by_signal_is_told_by_the_signals_name():
    with pytest.raises(ProviderExited) as caught:
        async with program("os.kill(os.getpid(), signal.SIGKILL)") as process:
            await read(process)

    assert (caught.value.exit_code, caught.value.signal) == (None, "SIGKILL")


async def test_sending_to_a_dead_program_tells_its_death(monkeypatch):
    monkeypatch.setattr(line_process, "EXIT_GRACE_SECONDS", SECONDS_MAX)
    code = "sys.stdin.close(); sys.exit(3)"

    with pytest.raises(ProviderExited) as caught:
        async with program(code) as process:
            with trio.fail_after(SECONDS_MAX):
                while True:
                    await process.send({"text": "x" * 100_000})

    assert caught.value.exit_code == 3


async def test_a_program_that_closes_its_output_and_lives_on_is_given_up(monkeypatch):
    monkeypatch.setattr(line_process, "EXIT_GRACE_SECONDS", 0.05)

    with pytest.raises(ProviderExited) as caught:
        async with program("os.close(1); time.sleep(600)") as process:
            await read(process)

    assert caught.value.exit_code is None
    assert "did not end" in str(caught.value)


async def test_a_cancelled_program_is_gone_within_a_second(pace, leaves_nothing):
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(ready=1); time.sleep(600)"
    ready, gone = trio.Event(), trio.Event()

    async def use(scope):
        with scope:
            async with program(code) as process:
                async for _ in process.messages():
                    ready.set()
        gone.set()

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(use, scope)
        with trio.fail_after(SECONDS_MAX):
            await ready.wait()
        scope.cancel()
        await pace.ends_within(1.0, gone.is_set)

    assert scope.cancelled_caught


async def test_an_exception_of_the_block_comes_out_bare_and_ends_the_program(leaves_nothing):
    with pytest.raises(LookupError):
        async with program("time.sleep(600)"):
            raise LookupError


async def test_a_program_may_end_by_itself_when_its_input_is_closed(tmp_path):
    told = tmp_path / "told"
    code = f"sys.stdin.read(); open({str(told)!r}, 'w').close()"

    async with program(code, goodbye_seconds=10):
        pass

    assert told.exists()


async def test_a_line_that_was_cancelled_halfway_is_the_last(leaves_nothing):
    with pytest.raises(ProtocolViolated):
        async with program("time.sleep(600)") as process:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(process.send, {"text": "x" * 1_000_000})
                await trio.testing.wait_all_tasks_blocked()  # the pipe is full
                nursery.cancel_scope.cancel()
            with trio.fail_after(SECONDS_MAX):
                await process.send({"text": "more"})


async def test_what_is_no_json_is_refused_and_not_sent():
    async with program("for line in sys.stdin: say(got=json.loads(line))") as process:
        with pytest.raises(InvalidArgument):
            await process.send({"text": float("nan")})
        await process.send({"n": 1})
        process.close_input()

        assert await read(process) == [{"got": {"n": 1}}]


@pytest.mark.parametrize("command", ["claude --version", [], [1]])
async def test_a_command_that_is_none_is_refused(command):
    with pytest.raises(InvalidArgument):
        async with open_line_process(command, provider="fake"):
            pass


async def test_a_program_that_is_not_there_is_not_installed():
    with pytest.raises(ProviderNotInstalled) as caught:
        async with open_line_process(["no-such-program-anywhere"], provider="fake"):
            pass

    assert "install it" in str(caught.value)


async def test_a_folder_that_is_not_there_is_told_apart(tmp_path):
    with pytest.raises(ProviderNotConfigured) as caught:
        async with program("pass", None, str(tmp_path / "gone")):
            pass

    assert "cannot be entered" in str(caught.value)
