from __future__ import annotations

import re
import signal

import pytest

from tests.adapters.gateways.chat.conftest import PATIENCE_SECONDS, PATIENT


def test_a_conversation_in_a_terminal(chats):
    """Text streams, thinking is dim, an approval is answered, a run is steered and cancelled."""
    terminal = chats("--agent", "paced:agent", "--data", str(chats.directory / "data"))
    terminal.expect(f"in {chats.directory / 'data'}; /help says what can be done")

    terminal.enter("think of it")
    terminal.expect("I am asked for 3 words.\nYou said: think of it\n(")
    assert "\x1b[2mI am asked for 3 words.\x1b[0m" in terminal.raw
    terminal.enter("please approve it")
    terminal.expect("? may count_words be used")
    terminal.expect("y, n, or why not: ")
    terminal.type("y\n")
    terminal.expect("approved by chat\n* count_words text=")
    terminal.expect("= 3 words\nI counted 3 words. You said: please approve it\n(")
    terminal.enter("slow one two three")
    terminal.expect("You ")
    terminal.type("faster\n")
    terminal.expect("(given to the run on its way)")
    terminal.expect("(told: faster)")
    terminal.expect("And on the way: faster")
    terminal.enter("slow again and again and again")
    terminal.expect("You ")
    terminal.press_ctrl_c()
    terminal.expect("cancelled: cancelled with Ctrl-C")
    terminal.enter("hello again")
    terminal.expect("You said: hello again\n(")
    terminal.enter("/quit")

    rest = terminal.end()
    assert "go on with: moorage chat --data" in rest
    assert terminal.is_as_it_was()


def test_streamed_text_comes_as_it_is_said(chats):
    terminal = chats("--agent", "paced:agent", "slow word")

    terminal.expect("You ")
    before = terminal.seen
    terminal.type("go on\n")
    terminal.expect("said: ")
    terminal.expect("slow word\nAnd on the way: go on\n(")

    assert "said" not in before


def test_the_latest_session_of_the_directory_goes_on_after_a_kill(chats):
    terminal = chats("--agent", "paced:agent")
    terminal.enter("please approve it")
    terminal.expect("y, n, or why not: ")
    terminal.process.send_signal(signal.SIGKILL)
    terminal.process.wait()
    (chats.directory / "elsewhere").mkdir()

    again = chats("--continue")  # the session knows its agent
    again.expect("> please approve it")
    again.expect("y, n, or why not: ")
    again.type("only tomorrow\n")
    again.expect("denied by chat: only tomorrow")
    again.expect("I was not allowed to count: only tomorrow.")
    again.enter("slow and long and slow")
    again.expect("You ")
    again.process.send_signal(signal.SIGKILL)
    again.process.wait()
    last = chats("-c")
    last.expect("interrupted: the process stopped before the run ended")
    last.enter("/history")
    last.expect("> please approve it")
    last.expect("> slow and long and slow\nYou ")
    last.expect("you> ")
    last.type("\x04")

    last.end()
    new = chats.piped("--agent", "scripted", input="new")
    assert "You said: new" in new.stdout


def test_sessions_are_forked_labelled_and_resumed_from_within(chats):
    terminal = chats("--agent", "scripted", "--session", "first")
    terminal.enter("one")
    terminal.expect("You said: one\n(")
    terminal.enter("/label start where it began")
    terminal.expect("(start is at ")
    terminal.enter("/fork")
    terminal.expect("(in the new session ")
    fork = terminal.expect(";")
    terminal.expect("You said: one")
    terminal.enter("two")
    terminal.expect("You said: two\n(")
    terminal.enter("/labels")
    terminal.expect("start  at ")
    terminal.expect("2 messages since  where it began")
    terminal.enter("/history")
    terminal.expect("> one\nYou said: one\n> two\nYou said: two\n")
    terminal.enter("/resume")
    terminal.expect(f"* {fork}")
    terminal.expect("  first")
    terminal.enter("/resume first")
    terminal.expect("> one\nYou said: one\n")
    terminal.enter("/quit")

    assert "--session first" in terminal.end()


def test_ctrl_c_at_the_prompt_drops_the_line_and_twice_leaves(chats):
    terminal = chats("--agent", "scripted")
    terminal.expect("you> ")
    terminal.type("half a li")
    terminal.expect("half a li")

    terminal.press_ctrl_c()
    terminal.expect("(Ctrl-C again leaves, and so does /quit)")
    terminal.enter("hello")
    terminal.expect("\nYou said: hello\n(")
    terminal.expect("you> ")
    terminal.press_ctrl_c()
    terminal.expect("you> ")
    terminal.press_ctrl_c()

    assert "go on with: moorage chat" in terminal.end(code=130)
    assert terminal.is_as_it_was()


def test_ctrl_c_twice_leaves_a_run(chats):
    terminal = chats("--agent", "paced:agent", "slow one")
    terminal.expect("You ")
    terminal.press_ctrl_c()
    terminal.expect("cancelled: ")

    terminal.press_ctrl_c()

    assert "go on with: moorage chat" in terminal.end(code=130)
    assert terminal.is_as_it_was()


def test_sigterm_at_the_prompt_leaves_the_terminal_as_it_was(chats):
    terminal = chats("--agent", "scripted")
    terminal.expect("you> ")

    terminal.process.terminate()

    rest = terminal.end(code=143)
    assert "nothing was said, so there is no session to come back to" in rest
    assert terminal.is_as_it_was()


def test_without_a_terminal_each_line_is_a_message(chats):
    done = chats.piped("--agent", "scripted", input="one\n\nplease approve it\n/labels\nlast")

    said = [line for line in done.stdout.splitlines() if "You said" in line]
    assert [line.rpartition("You said: ")[2] for line in said] == [
        "one",
        "please approve it",
        "last",
    ]
    assert "denied by chat: nobody can be asked" in done.stdout
    assert "(there are no labels)" in done.stdout
    assert "\x1b" not in done.stdout
    assert "go on with: moorage chat" in done.stderr


def test_without_a_terminal_all_can_be_approved_beforehand(chats):
    done = chats.piped("--agent", "scripted", "--approve-all", "please approve it")

    assert "I counted 3 words" in done.stdout


@pytest.mark.parametrize("input", ["fail\n", "/nonsense\n"])
def test_without_a_terminal_what_goes_wrong_is_the_exit_code(chats, input):
    chats.piped("--agent", "scripted", input=input, code=1)


def test_without_a_terminal_bytes_that_are_no_text_are_refused(chats):
    done = chats.piped("--agent", "scripted", input=b"\xff\n", code=1)

    assert "a line is not UTF-8: byte 0xff at offset 0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--agent", "nothing"], 2, "names no agent"),
        (["--agent", "scripted", "--continue", "--session", "x"], 2, "either this or --session"),
        (["--permission-mode", "shrug"], 2, "--permission-mode"),
        ([], 1, "an agent is needed: --agent SPEC"),
        (["--continue", "--agent", "scripted"], 1, "there is no session of the directory"),
        (["--agent", "scripted", "--session", "a\tb"], 1, "control character"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing_behind(chats, arguments, code, reason):
    done = chats.piped(*arguments, input="hello", code=code)

    assert reason in " ".join(done.stderr.replace("│", " ").split())
    assert "You said" not in done.stdout


def test_settings_are_remembered_by_the_session(chats):
    chats.piped("--agent", "scripted", "-m", "big-1", "--permission-mode", "plan", input="x")

    done = chats.piped("--continue", input="/status")

    assert re.search(r"agent +scripted\nmodel +big-1\npermission mode +plan\n", done.stdout)


def test_the_directory_of_the_log_is_made_or_its_reason_is_told(start, tmp_path):
    program = ("-c", PATIENT, "chat", "--agent", "scripted")
    program += ("--data", str(tmp_path / "data"), "--session", "s")
    log = tmp_path / "new" / "logs" / "{session_id}.jsonl"
    (tmp_path / "file").write_text("")

    talked = start(*program, "--log", str(log))
    _, told = talked.communicate("hi\n", timeout=PATIENCE_SECONDS)
    refused = start(*program, "--log", str(tmp_path / "file" / "sub" / "log"))
    _, reason = refused.communicate("hi\n", timeout=PATIENCE_SECONDS)

    assert talked.returncode == 0, told
    assert "run_completed" in (log.parent / "s.jsonl").read_text()
    assert refused.returncode == 2
    assert "--log" in reason
