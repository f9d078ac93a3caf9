from __future__ import annotations

import pytest
from moorage.adapters.gateways.chat.typed import (
    COMMANDS,
    Command,
    Message,
    Verdict,
    help_text,
    read_typed,
    read_verdict,
)
from moorage.runtime import InvalidArgument


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("hello there", Message("hello there")),
        ("  hello\n", Message("hello")),
        ("", None),
        (" \t ", None),
        ("/quit", Command("quit")),
        ("/quit  ", Command("quit")),
        ("/label here", Command("label", "here")),
        ("/label here  a nice  place ", Command("label", "here  a nice  place")),
        ("/fork", Command("fork")),
        ("/fork 12", Command("fork", "12")),
        (" /quit", Message("/quit")),
        ("/usr/bin is full", Message("/usr/bin is full")),
        ("/", Message("/")),
        ("two\nlines", Message("two\nlines")),
    ],
)
def test_a_line_is_a_message_or_a_command(text, typed):
    assert typed == read_typed(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/quitt", "there is no command /quitt: did you mean /quit"),
        ("/zzzz", "there is no command /zzzz: /help lists them"),
        ("/label", "/label needs an argument: /label NAME"),
        ("/clear all", "/clear takes no argument, not 'all'"),
    ],
)
def test_what_is_no_command_is_refused_with_what_would_be_one(text, reason):
    with pytest.raises(InvalidArgument, match=reason):
        read_typed(text)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("y", Verdict(True)),
        (" YES\n", Verdict(True)),
        ("n", Verdict(False)),
        ("no", Verdict(False)),
        ("n too dear", Verdict(False, "too dear")),
        ("No, take the other one", Verdict(False, "take the other one")),
        ("not in this directory", Verdict(False, "not in this directory")),
        ("yes but only once", Verdict(False, "yes but only once")),
        ("", None),
        ("  ", None),
    ],
)
def test_only_a_bare_yes_approves_and_all_else_is_a_reason(text, verdict):
    assert verdict == read_verdict(text)


def test_the_help_has_every_command_with_its_arguments():
    lines = help_text().splitlines()

    for name, usage in COMMANDS.items():
        assert any(
            line.split("  ")[1] == f"/{name} {usage.arguments}".strip() and usage.meaning in line
            for line in lines
        )
