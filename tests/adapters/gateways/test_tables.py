from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from moorage.adapters.gateways import tables
from moorage.adapters.gateways.tables import in_color, show_facts, show_json, show_table


class GoneReader:
    """A standard output that nobody reads any more."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError

    flush = fileno = isatty = lambda self: 0


def test_that_nobody_reads_any_more_is_an_error_and_then_silence(monkeypatch):
    monkeypatch.setattr(tables, "sys", SimpleNamespace(stdout=GoneReader()))
    console = tables.standard_output()

    with pytest.raises(BrokenPipeError):
        console.print("text")
    console.print("more")


class Terminal:
    """A standard output that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    # not sys.stdout itself, which pytest exchanges again before the test begins
    monkeypatch.setattr(tables, "sys", SimpleNamespace(stdout=terminal))
    return terminal


def test_in_a_pipe_columns_are_aligned_and_nothing_is_cut(capsys):
    show_table(["NAME", "N", "REST"], [["a" * 100, "5", "x\ty"], ["b", "10", ""]], numbers=["N"])

    assert capsys.readouterr().out.splitlines() == [
        "NAME" + " " * 96 + "   N  REST",
        "a" * 100 + "   5  x\\x09y",
        "b" + " " * 99 + "  10",
    ]


def test_on_a_terminal_long_cells_are_cut_except_those_that_must_not(terminal):
    show_table(
        ["ID", "STATE", "TEXT"], [["i" * 20, "failed", "t" * 50]], states="STATE", full=["ID"]
    )

    assert "i" * 20 in terminal.text
    assert "t" * 50 not in terminal.text
    assert "tttt…" in terminal.text
    assert "\x1b[31mfailed" in terminal.text


def test_facts_of_several_lines_stand_below_each_other(capsys):
    show_facts([("state", "open"), ("running", "a\nb"), ("none", "")])

    assert capsys.readouterr().out == "state    open\nrunning  a\n         b\nnone\n"


def test_facts_on_a_terminal_are_not_broken_into_lines(terminal):
    show_facts([("state", "open"), ("id", "x" * 80)])

    assert "x" * 80 in terminal.text
    assert "\x1b[1;32mopen" in terminal.text


def test_hostile_cells_stay_harmless(terminal):
    show_table(["A"], [["\x1b[2J[red]not markup[/red]"]], full=["A"])
    show_facts([("a", "\x1b[2J")])

    assert "\x1b[2J" not in terminal.text
    assert "[red]" in terminal.text


def test_json_is_one_document(capsys):
    show_json({"text": "ü", "bytes": b"\0", "large": 2**63})

    assert json.loads(capsys.readouterr().out) == {
        "text": "ü",
        "bytes": {"$bytes": "AA=="},
        "large": 2**63,
    }


def test_color_is_for_terminals_that_want_it(terminal, monkeypatch):
    assert in_color()

    monkeypatch.setenv("NO_COLOR", "1")

    assert not in_color()
