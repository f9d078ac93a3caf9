from __future__ import annotations

import json
import signal

import pytest
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Wait
from moorage.adapters.gateways import running
from moorage.adapters.gateways.running import parse_input
from moorage.runtime import InvalidArgument


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        (" [1]\n", [1]),
        ("hello", "hello"),
        ("5", "5"),
        ('"quoted"', '"quoted"'),
        ("{not json", "{not json"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_an_object_or_array_of_json_is_data_and_all_else_is_text(text, value):
    assert value == parse_input(text)


def test_nan_in_json_is_refused():
    with pytest.raises(InvalidArgument, match="NaN"):
        parse_input("[NaN]")


def test_inputs_are_run_and_their_outcomes_shown_in_order(moorage):
    result = moorage("run", "-s", "a", "--agent", "echo", "hello", '{"x": 1}')

    rows = [line.split() for line in result.stdout.partition("\n\n")[2].splitlines()]
    assert rows[0] == ["RUN", "OUTCOME", "SECONDS", "RESULT"]
    assert [[row[1], row[3]] for row in rows[1:]] == [["completed", "hello"], ["completed", "x=1"]]
    assert "run_submitted" in result.stdout


def test_outcomes_as_json_are_all_there_is_on_standard_output(moorage):
    outcomes = moorage.json("run", "-s", "a", "--agent", "echo", "one", "[2]")

    assert [
        (outcome["state"], outcome["output"], outcome["session_id"]) for outcome in outcomes
    ] == [("completed", "one", "a"), ("completed", [2], "a")]


def test_jsonl_is_nothing_but_events(moorage):
    lines = moorage.lines("run", "-s", "a", "--agent", "echo", "--format", "jsonl", "x")

    assert [line["type"] for line in lines] == ["run_submitted", "run_started", "run_completed"]


def test_quiet_shows_only_the_outcomes(moorage):
    text = moorage("run", "-s", "a", "--agent", "echo", "--quiet", "x").stdout

    assert len(text.splitlines()) == 2


def test_a_program_runs_with_the_input_on_standard_input(moorage):
    (outcome,) = moorage.json("run", "-s", "a", "--agent", "process:tr a-z A-Z", "hello")

    assert outcome["output"]["content"] == "HELLO"


def test_a_run_that_does_not_complete_makes_the_exit_code_one(moorage):
    outcomes = moorage.json(
        "run", "-s", "a", "--agent", "process:grep --quiet good", "good", "bad", code=1
    )

    assert [outcome["state"] for outcome in outcomes] == ["completed", "failed"]
    table = moorage("run", "-s", "a", "-q", "--agent", "process:false", "x", code=1).stdout
    assert "failed" in table
    assert "process_failed" in table or "exit code 1" in table


def test_a_time_limit_ends_a_run(moorage):
    (outcome,) = moorage.json(
        "run", "-s", "a", "--agent", "process:sleep 60", "--timeout", "0.05", "x", code=1
    )

    assert outcome["state"] == "timed_out"


def test_slots_are_used_and_remembered(moorage):
    moorage("run", "-s", "a", "--agent", "echo", "--slots", "3", "x")

    assert moorage.json("status", "a")["slots"] == 3


def test_standard_input_is_one_input(moorage):
    result = moorage("run", "-s", "a", "--agent", "echo", "--json", "-", input='{"from": "stdin"}')

    assert json.loads(result.stdout)[0]["output"] == {"from": "stdin"}


def test_without_a_session_it_is_a_new_one_each_time(moorage):
    moorage("run", "--agent", "echo", "x")
    moorage("run", "--agent", "echo", "x")

    assert len(moorage.json("sessions")) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x"], "an agent is needed"),
        (["x", "--agent", "nothing"], "names no agent"),
        (["--agent", "echo"], "Missing argument"),
        (["--agent", "echo", "-", "-"], "can be read once"),
        (["--agent", "echo", "[NaN]"], "NaN"),
        (["--agent", "echo", "x", "--slots", "0"], "--slots"),
        (["--agent", "echo", "x", "--on-interrupt", "shrug"], "--on-interrupt"),
    ],
)
def test_usage_errors_exit_with_two_and_make_nothing(moorage, arguments, reason):
    assert reason in moorage("run", "-s", "a", *arguments, code=2).stderr
    assert not moorage.data.exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["-s", "a\x07b"], "control character"), (["-s", " "], "empty or blank")],
)
def test_what_the_runtime_refuses_is_one_line_and_exit_one(moorage, options, reason):
    result = moorage("run", "--agent", "echo", *options, "x", code=1)

    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


BUSY = """
import sys, trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Wait

async def main():
    async with open_supervisor(JournalStore(sys.argv[1]), ScriptedAgent([Wait(1_000)])) as owner:
        await (await owner.session("a")).submit("x")
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_a_directory_that_another_process_owns_is_refused_naming_it(moorage, owner):
    result = moorage("run", "-s", "a", "--agent", "echo", "x", code=1)

    assert f"process {owner.process.pid}" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.count(str(owner.process.pid)) == 1
    assert result.stderr.endswith("Z): stop that process, or ask that server with --url\n")
    owner.stop()


def test_more_inputs_than_the_queue_takes_are_submitted_as_it_empties(moorage, monkeypatch):
    from moorage.runtime import SupervisorLimits, open_supervisor

    def with_a_short_queue(store, agent):
        return open_supervisor(store, agent, limits=SupervisorLimits(runs_queued_max=2))

    monkeypatch.setattr(running, "open_supervisor", with_a_short_queue)

    outcomes = moorage.json("run", "-s", "a", "--agent", "echo", *map(str, range(12)))

    assert [str(number) for number in range(12)] == [outcome["output"] for outcome in outcomes]


def test_what_is_left_of_before_goes_on_first_and_is_told(moorage):
    async def work(supervisor):
        for id in ("a", "b"):
            session = await supervisor.session(id)
            await session.submit(f"left in {id}", on_interrupt="requeue")
        await supervisor.drain(timeout_seconds=0)

    moorage.fill(work, ScriptedAgent([Wait(1_000)]))
    result = moorage(
        "run", "-s", "a", "--agent", "echo", "--format", "jsonl", "--recover-others", "new"
    )

    assert "1 other session has unfinished runs, which go on too: 'b'" in result.stderr
    assert "1 unfinished run of session 'a' goes on first" in result.stderr
    assert "left in" not in result.stdout
    ends = [
        event["data"]["output"]
        for event in moorage.lines("events", "a", "--json", "--type", "run_completed")
    ]
    assert ends == ["left in a", "new"]


def test_work_of_other_sessions_is_not_given_to_this_agent_unasked(moorage):
    async def work(supervisor):
        for id in ("a", "b"):
            session = await supervisor.session(id)
            await session.submit(f"left in {id}", on_interrupt="requeue")
        await supervisor.drain(timeout_seconds=0)

    moorage.fill(work, ScriptedAgent([Wait(1_000)]))
    refused = moorage("run", "-s", "a", "--agent", "echo", "x", code=1)
    left = moorage.json("sessions", "--json")

    assert "which this agent would finish too: 'b'; --recover-others" in refused.stderr
    assert [info["runs"] for info in left] == [{"queued": 1}, {"queued": 1}]


def test_what_would_go_on_is_not_told_when_the_directory_is_refused(moorage, start):
    owner = start("-c", BUSY, str(moorage.data))
    assert owner.stdout.readline() == "ready\n"

    result = moorage("run", "-s", "a", "--agent", "echo", "x", code=1)

    assert f"process {owner.pid}" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("where", [b"", b"{"])
def test_standard_input_that_is_no_text_is_a_usage_error_that_says_so(moorage, where):
    result = moorage("run", "--agent", "echo", "-", input=where + b"abc\xff", code=2)

    words = " ".join(result.stderr.replace("│", " ").split())
    assert f"standard input is not UTF-8: byte 0xff at offset {len(where) + 3}" in words
    assert "iconv" in words


SLOW = """
import trio
async def agent(request, context):
    print("begun", flush=True)
    await trio.sleep_forever()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_quietly_and_in_order(moorage, start, tmp_path, number, code):
    (tmp_path / "slow_agent.py").write_text(SLOW)
    process = start(
        "-m", "moorage.adapters.gateways", "run", "-s", "a", "--data", str(moorage.data),
        "--agent", "slow_agent:agent", "--on-interrupt", "requeue", "--json", "one", "two",
        cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"

    process.send_signal(number)

    assert process.communicate() == ("", "")
    assert code == process.returncode
    assert "run_requeued" in [line["type"] for line in moorage.lines("events", "a", "--json")]


def test_a_run_that_waits_here_says_so_at_once_and_again_when_it_is_left(moorage, start):
    command = f"moorage chat --data {moorage.data} --session ap --agent scripted"
    process = start(
        "-m", "moorage.adapters.gateways", "run", "-s", "ap", "--data", str(moorage.data),
        "--agent", "scripted", "-q", "please approve it",
    )  # fmt: skip

    waits = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, left = process.communicate()

    (run,) = moorage.json("status", "ap")["waiting"]
    asks = "asks for approval of count_words, and waits"
    assert waits == f"moorage: run {run} {asks}: Ctrl-C, then {command}\n"
    assert left == f"moorage: run {run} is left waiting: {command}\n"
    assert process.returncode == 130
    status = " ".join(moorage("status", "ap").stdout.split())
    assert f"moorage chat --data {moorage.data} --session ap --agent SPEC" in status
    answering = ["-m", "moorage.adapters.gateways", *command.split()[1:], "--approve-all"]
    start(*answering).communicate("")
    assert moorage.json("status", "ap")["waiting"] == []


def test_a_run_that_completes_is_not_said_to_wait(moorage):
    assert moorage("run", "-s", "a", "--agent", "scripted", "-q", "hello").stderr == ""
