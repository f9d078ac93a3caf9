from __future__ import annotations

from types import SimpleNamespace

import pytest
from moorage.adapters.gateways import tables
from moorage.adapters.gateways.demo import screen as module
from moorage.adapters.gateways.demo.checks import Finding
from moorage.adapters.gateways.demo.screen import Screen

ROWS = {
    "tests": {
        "slots": 2,
        "running": ["unittest csv"],
        "queued": 3,
        "events": 41,
        "said": "\x1b[2Jtest_ok ... ok",
    }
}
COUNTS = {"accepted": 7, "ended": 3, "cancelled": 2, "events": 40}


class Terminal:
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
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr(tables, "sys", SimpleNamespace(stdout=terminal))
    return terminal


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    with Screen() as screen:
        screen.phase("working")
        for _ in range(100):
            screen.show(ROWS, COUNTS)

    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(
        "service: 1 running, 3 queued; "
        "client: 7 runs accepted, 3 ended, 2 of them cancelled, 40 events seen"
    )


def test_a_line_tells_nothing_of_a_queue_while_the_service_is_gone(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    with Screen() as screen:
        screen.show({"tests": dict(ROWS["tests"])}, COUNTS)
        screen.blank()
        screen.show(None, COUNTS)
        screen.show(ROWS, COUNTS)

    before, gone, still_gone, again = capsys.readouterr().out.splitlines()
    for line in (gone, still_gone):
        assert "no service; client: 7 runs accepted" in line
    assert before.endswith(again.partition(" s  ")[2])


def test_on_a_terminal_there_is_a_table_of_slots_queue_and_events(terminal):
    with Screen() as screen:
        screen.phase("working")
        screen.show(ROWS, COUNTS)

    for text in ("tests", "■", "□", "●●●", "41", "unittest csv", "test_ok ... ok", "working"):
        assert text in terminal.text
    assert "\x1b[2J" not in terminal.text


def test_when_the_service_is_gone_nothing_is_shown_as_running(terminal):
    with Screen() as screen:
        screen.show({"tests": dict(ROWS["tests"])}, COUNTS)
        terminal.text = ""
        screen.blank()

    assert "unittest" not in terminal.text


def test_findings_are_marked(capsys):
    findings = [Finding("it holds", "1 of 1", []), Finding("it does not", "0 of 1", ["why"])]

    Screen().findings(findings)

    assert capsys.readouterr().out == "✓ it holds     1 of 1\n✗ it does not  0 of 1\n"
