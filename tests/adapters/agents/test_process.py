"""ProcessAgent with real programs."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
import trio
from moorage.adapters.agents import (
    ProcessAgent,
    ProcessFailed,
    ProcessNotStarted,
    ProcessOutputTooLarge,
    ProcessResultInvalid,
)
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.agents.watcher import WATCHER
from moorage.runtime.errors import InvalidArgument, RecordTooLarge
from moorage.runtime.runs import RunState

from tests.adapters.agents.conftest import SECONDS_MAX

pytestmark = pytest.mark.usefixtures("leaves_nothing")
GRACE_SECONDS = 2 * SECONDS_MAX
"""Longer than a test may take: who is waited for so long is found out."""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


async def run(agent, input=None, context=None, **fields):
    """Run the agent alone; returns its output and context, or raises what it raised."""
    context = context or RecordingContext()
    with trio.fail_after(SECONDS_MAX):
        ended = await execute(agent, context.request(input, **fields), context)
    if ended.error is not None:
        raise ended.error
    assert ended.state is RunState.COMPLETED
    return ended.output, context


async def fail(agent, kind, input=None, context=None):
    with pytest.raises(kind) as caught:
        await run(agent, input, context)
    return caught.value


ECHO = "import sys; sys.stdout.write(sys.stdin.read())"


async def test_lines_become_events_and_the_output_of_the_run():
    agent = ProcessAgent(
        python("import sys; print('one'); print('two'); print('x', file=sys.stderr)")
    )

    output, context = await run(agent)

    assert [(event.type, event.data) for event in context.events] == [
        ("message_streamed", {"delta": "one\n"}),
        ("message_streamed", {"delta": "two\n"}),
    ]
    assert output == {
        "exit_code": 0,
        "content": "one\ntwo\n",
        "content_truncated": False,
        "output_truncated": False,
        "stderr": "x\n",
        "stderr_truncated": False,
    }


async def test_lines_arrive_while_the_program_runs():
    agent = ProcessAgent(["sh", "-c", "echo ready; sleep 600"])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, agent, context.request(), context)
        with trio.fail_after(SECONDS_MAX):
            await context.wait_events(1)
        ended = context.ended
        nursery.cancel_scope.cancel()

    assert not ended
    assert context.deltas() == "ready\n"


@pytest.mark.parametrize(
    ("input", "stdin"),
    [
        ("plain üöä", "plain üöä"),
        (b"raw \x00 bytes", "raw \x00 bytes"),
        ({"messages": ["ü"]}, '{"messages": ["ü"]}\n'),
        (None, "null\n"),
        ([1, 2.5, True], "[1, 2.5, true]\n"),
        ("", ""),
    ],
)
async def test_the_input_is_on_standard_input(input, stdin):
    output, _ = await run(ProcessAgent(python(ECHO)), input)

    assert stdin == output["content"]


async def test_the_input_can_be_encoded_another_way():
    agent = ProcessAgent(python(ECHO), encode_input=lambda request: request.input["prompt"])

    assert (await run(agent, {"prompt": "do it"}))[0]["content"] == "do it"


@pytest.mark.parametrize("input", [{"raw": b"bytes"}, float("nan"), "\ud800"])
async def test_an_input_that_is_no_json_is_refused_with_the_remedy(input):
    error = await fail(ProcessAgent(["cat"]), InvalidArgument, input)

    assert "encode_input" in str(error)


async def test_the_program_sees_the_run_in_its_environment():
    code = (
        "import os; print(*(os.environ['MOORAGE_' + n] for n in ('SESSION_ID','RUN_ID','ATTEMPT')))"
    )
    context = RecordingContext(session_id="s", run_id="r", attempt=2)

    output, _ = await run(ProcessAgent(python(code)), context=context)

    assert output["content"] == "s r 2\n"


async def test_the_environment_is_extended(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("DROPPED", "2")
    code = "import os; print([os.environ.get(n) for n in ('KEPT', 'DROPPED', 'ADDED')])"
    agent = ProcessAgent(python(code), environment={"ADDED": "3", "DROPPED": None})

    assert (await run(agent))[0]["content"] == "['1', None, '3']\n"


async def test_the_environment_can_be_replaced_as_a_whole():
    agent = ProcessAgent(
        ["/usr/bin/env"], environment={"ONLY": "this"}, environment_policy="replace"
    )

    assert (await run(agent))[0]["content"] == "ONLY=this\n"


async def test_the_command_and_cwd_may_depend_on_the_request(tmp_path):
    agent = ProcessAgent(
        lambda request: python("import os, sys; print(os.getcwd(), sys.argv[1])", request.run_id),
        cwd=lambda request: tmp_path,
    )

    assert f"{tmp_path} run\n" == (await run(agent))[0]["content"]


async def test_a_shell_is_used_when_asked_for():
    agent = ProcessAgent('printf "%s" "$((6 * 7))"', shell=True)

    assert (await run(agent))[0]["content"] == "42"


async def test_arguments_never_pass_through_a_shell():
    agent = ProcessAgent(["echo", "$HOME; ls `pwd`"])

    assert (await run(agent))[0]["content"] == "$HOME; ls `pwd`\n"


async def test_a_json_program_is_an_agent_in_another_language():
    rows = [
        {"type": "message_streamed", "data": {"delta": "Hi"}},
        {"type": "vendor", "x": 1},
        {"type": "result", "data": {"content": "Hi"}},
    ]
    agent = ProcessAgent(
        ["printf", "%s\n", *map(json.dumps, rows)],
        lines="json",
        event_types={"vendor": "turn_completed"},
    )

    output, context = await run(agent)

    assert output == {"content": "Hi"}
    assert [(event.type, event.data) for event in context.events] == [
        ("message_streamed", {"delta": "Hi"}),
        ("turn_completed", {"x": 1}),
    ]


async def test_a_json_program_without_result_tells_how_it_ended():
    output, _ = await run(ProcessAgent(["true"], lines="json"))

    assert output == {
        "exit_code": 0,
        "output_truncated": False,
        "stderr": "",
        "stderr_truncated": False,
    }


@pytest.mark.parametrize("value", ['"\\ud800"', str(2**70)])
async def test_json_that_msgpack_cannot_hold_is_kept_as_its_line(value):
    line = f'{{"type": "message_sent", "data": {value}}}'
    agent = ProcessAgent(["printf", "%s\n", line], lines="json")

    _, context = await run(agent)

    assert [("provider_event", {"line": line})] == [(e.type, e.data) for e in context.events]


async def test_a_result_that_msgpack_cannot_hold_fails_the_run():
    line = f'{{"type": "result", "data": {2**70}}}'

    error = await fail(ProcessAgent(["printf", "%s", line], lines="json"), ProcessResultInvalid)

    assert "64 bits" in str(error)


async def test_a_function_can_read_the_lines():
    agent = ProcessAgent(["seq", "3"], lines=lambda line: ("turn_completed", int(line)))

    _, context = await run(agent)

    assert [event.data for event in context.events] == [1, 2, 3]


async def test_a_function_that_fails_fails_the_run():
    agent = ProcessAgent(["sh", "-c", "echo x; sleep 600"], lines=lambda line: int(line))

    assert "invalid literal" in str(await fail(agent, ValueError))


async def test_a_function_that_makes_no_plain_data_fails_the_run():
    agent = ProcessAgent(["echo", "x"], lines=lambda line: ("message_sent", {line}))

    await fail(agent, InvalidArgument)


async def test_another_exit_code_fails_the_run_with_the_end_of_standard_error():
    agent = ProcessAgent(python("import sys; print('context', file=sys.stderr); sys.exit('why')"))

    error = await fail(agent, ProcessFailed)

    assert (error.exit_code, error.signal, error.stderr) == (1, None, "context\nwhy\n")
    assert str(error).endswith("ended with exit code 1: why")


async def test_an_exit_code_can_be_a_success():
    agent = ProcessAgent(["sh", "-c", "exit 1"], exit_codes_ok={0, 1})

    assert (await run(agent))[0]["exit_code"] == 1


async def test_death_by_a_signal_is_told_by_its_name():
    error = await fail(ProcessAgent(["sh", "-c", "kill -SEGV $$"]), ProcessFailed)

    assert (error.exit_code, error.signal) == (None, "SIGSEGV")
    assert "killed by SIGSEGV" in str(error)


async def test_standard_error_keeps_its_last_part():
    code = "import sys; sys.stderr.write('a' * 300000 + 'the end')"

    output, _ = await run(ProcessAgent(python(code), stderr_bytes_max=10))

    assert (output["stderr"], output["stderr_truncated"]) == ("aaathe end", True)


@pytest.mark.parametrize(
    ("command", "options", "reason"),
    [
        (["no-such-program-here"], {}, "there is no such program"),
        (["/tmp"], {}, "not executable"),
        (["true"], {"cwd": "/no/such/place"}, "cwd '/no/such/place'"),
        (["true", "x" * 3_000_000], {}, "Argument list too long"),
    ],
)
async def test_a_command_that_cannot_run_says_why(command, options, reason):
    error = await fail(ProcessAgent(command, **options), ProcessNotStarted)

    assert reason in str(error)
    assert error.retryable is False


async def test_flooded_output_arrives_whole_and_in_order():
    output, context = await run(ProcessAgent(["seq", "50000"], content_bytes_max=50))

    deltas = [event.data["delta"] for event in context.events]
    assert [f"{number}\n" for number in range(1, 50_001)] == deltas
    assert (output["content"][:6], output["content_truncated"]) == ("1\n2\n3\n", True)
    assert len(output["content"]) == 50


async def test_a_slow_log_makes_the_program_wait():
    context = RecordingContext(emit_ahead_bytes_max=1000)
    context.hold_log()
    agent = ProcessAgent(["sh", "-c", "seq 20000; echo all written >&2"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent, None, context)
        await context.wait_blocked()
        held = len(context.events)
        context.release_log()

    assert held < 100
    assert len(context.events) == 20_000


async def test_output_over_its_limit_fails_and_ends_the_program():
    agent = ProcessAgent(["yes"], output_bytes_max=1000)
    context = RecordingContext()

    error = await fail(agent, ProcessOutputTooLarge, context=context)

    assert "output_bytes_max, 1000 bytes" in str(error)
    assert context.deltas() == "y\n" * 500


async def test_output_over_its_limit_can_be_thrown_away():
    agent = ProcessAgent(
        ["sh", "-c", "seq 100000; echo done >&2"], output_bytes_max=9, output_overflow="truncate"
    )

    output, context = await run(agent)

    assert "1\n2\n3\n4\n5" == context.deltas() == output["content"]
    assert (
        output["output_truncated"],
        output["content_truncated"],
        output["stderr"],
    ) == (True, True, "done\n")


async def test_output_of_exactly_its_limit_is_fine():
    output, _ = await run(ProcessAgent(["printf", "12345"], output_bytes_max=5))

    assert (output["content"], output["output_truncated"]) == ("12345", False)


async def test_a_line_of_ten_megabytes_arrives_in_parts():
    code = "import sys; sys.stdout.write('x' * 10_000_000)"

    _, context = await run(ProcessAgent(python(code), line_bytes_max=1_000_000))

    assert [len(event.data["delta"]) for event in context.events] == [1_000_000] * 10
    assert [event.data.get("partial") for event in context.events] == [True] * 9 + [None]


async def test_an_event_too_large_for_the_session_fails_the_run():
    context = RecordingContext(record_bytes_max=1024)
    agent = ProcessAgent(["sh", "-c", "head -c 2000 /dev/zero; sleep 600"], line_bytes_max=1500)

    await fail(agent, RecordTooLarge, context=context)


async def test_binary_garbage_and_nul_bytes_are_text_with_replacements():
    output, context = await run(ProcessAgent(["printf", r"\000\377\376a\n\200"]))

    assert "\0\ufffd\ufffda\n\ufffd" == context.deltas() == output["content"]


async def test_a_program_that_closes_its_output_early_is_waited_for():
    code = "import os, sys; print('x', flush=True); os.close(1); os.close(2); os._exit(3)"

    error = await fail(ProcessAgent(python(code)), ProcessFailed)

    assert error.exit_code == 3


@pytest.mark.parametrize(
    "command", [["true"], ["sh", "-c", "exec <&-; echo x; read y < /dev/null"]]
)
async def test_a_program_need_not_read_its_input(command):
    agent = ProcessAgent(command, exit_codes_ok={0, 1})

    await run(agent, "x" * 1_000_000)


async def test_what_a_program_leaves_in_its_group_is_killed_when_it_ends(wait_gone):
    agent = ProcessAgent(
        ["sh", "-c", "trap '' TERM HUP; sleep 600 & echo $!"], pipe_grace_seconds=60
    )

    output, _ = await run(agent)

    await wait_gone(int(output["content"]))


async def test_what_left_the_group_cannot_hold_the_run_by_its_pipes():
    code = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)"""
    agent = ProcessAgent(python(code), pipe_grace_seconds=0.1)

    output, _ = await run(agent)

    os.kill(int(output["content"]), signal.SIGKILL)


async def test_what_left_the_group_cannot_hold_the_run_by_flooding_it():
    code = """
import os, subprocess, sys
child = subprocess.Popen(["yes", "x" * 1000], start_new_session=True, stderr=subprocess.DEVNULL)
sys.stderr.write(str(child.pid))"""
    agent = ProcessAgent(python(code), pipe_grace_seconds=5)

    output, _ = await run(agent)

    os.kill(int(output["stderr"]), signal.SIGKILL)


async def test_what_left_the_group_cannot_hold_the_run_by_its_input():
    code = """
import subprocess, sys
other = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=other, stderr=other)
print(child.pid)"""

    output, _ = await run(ProcessAgent(python(code)), "x" * 1_000_000)

    os.kill(int(output["content"]), signal.SIGKILL)


async def cancel_when_it_speaks(agent) -> tuple[list[int], float]:
    """Cancel at the first event; returns the pids in it and how long the end took."""
    context = RecordingContext()
    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute, agent, context.request(), context)
            await context.wait_events(1)
            cancelled_at = trio.current_time()
            nursery.cancel_scope.cancel()
    return [int(word) for word in context.deltas().split()], trio.current_time() - cancelled_at


async def test_cancelling_terminates_the_whole_group(wait_gone):
    agent = ProcessAgent(
        ["sh", "-c", "sleep 600 & echo $$ $!; wait"], terminate_grace_seconds=GRACE_SECONDS
    )

    pids, took = await cancel_when_it_speaks(agent)

    assert took < SECONDS_MAX
    await wait_gone(*pids)


async def test_cancelling_kills_what_ignores_termination(wait_gone):
    agent = ProcessAgent(
        [
            "sh",
            "-c",
            "trap '' TERM; (trap '' TERM; sleep 600) & echo $$ $!; while :; do wait; done",
        ],
        terminate_grace_seconds=0.2,
    )

    pids, took = await cancel_when_it_speaks(agent)

    assert took >= 0.2
    await wait_gone(*pids)


async def test_a_program_can_say_goodbye_within_the_grace(tmp_path):
    code = f"""
import os, signal, sys, time
def leave(*_):
    os.write(1, b"x" * 1_000_000)  # more than a pipe holds
    open({str(tmp_path / "goodbye")!r}, "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print(1, flush=True)
time.sleep(600)"""

    await cancel_when_it_speaks(ProcessAgent(python(code), terminate_grace_seconds=GRACE_SECONDS))

    assert (tmp_path / "goodbye").exists()


async def test_a_wrapper_that_ends_first_does_not_cut_the_grace_of_its_child(tmp_path):
    code = f"""
import signal, sys, time
def leave(*_):
    time.sleep(0.1)
    open({str(tmp_path / "goodbye")!r}, "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print(1, flush=True)
time.sleep(600)"""
    (tmp_path / "child.py").write_text(code)
    agent = ProcessAgent(
        ["sh", "-c", f"{sys.executable} -I -S {tmp_path}/child.py & wait"],
        terminate_grace_seconds=GRACE_SECONDS,
    )

    await cancel_when_it_speaks(agent)

    assert (tmp_path / "goodbye").exists()


async def test_a_stopped_program_is_ended_too(wait_gone):
    agent = ProcessAgent(
        ["sh", "-c", "echo $$; kill -STOP $$"], terminate_grace_seconds=GRACE_SECONDS
    )

    pids, took = await cancel_when_it_speaks(agent)

    assert took < SECONDS_MAX
    await wait_gone(*pids)


async def test_cancelled_at_its_start_it_leaves_nothing():
    agent = ProcessAgent(["sleep", "600"])
    context = RecordingContext()

    for delay_seconds in (0, 0.001, 0.005, 0.01, 0.02):
        with trio.move_on_after(delay_seconds):
            await agent(context.request(), context)

    assert context.events == []


async def test_programs_do_not_inherit_descriptors_of_ours():
    output, _ = await run(ProcessAgent(["ls", "/proc/self/fd"]))

    assert output["content"].split() == ["0", "1", "2", "3"]  # 3 is ls's own


async def test_runs_at_once_are_independent():
    agent = ProcessAgent(python(ECHO))
    contexts = [RecordingContext(run_id=str(number)) for number in range(5)]

    async with trio.open_nursery() as nursery:
        for context in contexts:
            nursery.start_soon(run, agent, f"input of {context.run_id}", context)

    assert [f"input of {number}" for number in range(5)] == [c.deltas() for c in contexts]


async def test_as_a_context_manager_it_keeps_the_watcher_between_runs():
    async with ProcessAgent(["true"]) as agent:
        await run(agent)
        first = WATCHER.pid
        await run(agent)

        assert first is not None
        assert first == WATCHER.pid
    assert WATCHER.pid is None


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("ls -l", {}, "shell=True"),
        (["ls"], {"shell": True}, "one string"),
        ("  ", {"shell": True}, "one string"),
        ([], {}, "sequence of strings"),
        (5, {}, "sequence of strings"),
        (["ls", 5], {}, "not 5"),
        (["ls", "a\0b"], {}, "NUL"),
        ([""], {}, "name of a program"),
        (["ls"], {"lines": "xml"}, "text, json"),
        (["ls"], {"environment_policy": "merge"}, "extend, replace"),
        (["ls"], {"output_overflow": "ignore"}, "fail, truncate"),
        (["ls"], {"environment": {"A=B": "x"}}, "'A=B'"),
        (["ls"], {"environment": {"A": 5}}, "string without NUL"),
        (["ls"], {"line_bytes_max": 0}, "line_bytes_max must be a whole number of at least 1"),
        (["ls"], {"stderr_bytes_max": 1.5}, "stderr_bytes_max must be a whole number"),
        (["ls"], {"terminate_grace_seconds": -1}, "at least 0"),
        (["ls"], {"pipe_grace_seconds": float("nan")}, "at least 0"),
        (["ls"], {"exit_codes_ok": [256]}, "0 to 255"),
        (["ls"], {"event_types": {"a": "message_sent"}}, "lines='json'"),
        (["ls"], {"lines": "json", "event_types": {"a": "run_completed"}}, "reserved"),
        (["ls"], {"lines": "json", "event_types": {"a": ""}}, "empty"),
    ],
)
async def test_bad_options_are_refused_by_name(command, options, message):
    with pytest.raises(InvalidArgument, match=message):
        ProcessAgent(command, **options)


async def test_an_async_function_is_no_command():
    async def command(request):
        return ["ls"]

    with pytest.raises(InvalidArgument, match="plain function"):
        ProcessAgent(command)


async def test_a_function_that_returns_no_command_fails_the_run():
    assert "shell=True" in str(await fail(ProcessAgent(lambda request: "ls"), InvalidArgument))


async def test_its_text_form_holds_no_secrets():
    agent = ProcessAgent(["curl", "-u", "me:secret"], environment={"TOKEN": "secret"})

    assert "secret" not in repr(agent)
