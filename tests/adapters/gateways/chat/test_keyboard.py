from __future__ import annotations

import io
import os
import pty
import sys
import termios
from types import ModuleType

import pytest
import trio
from moorage.adapters.gateways.chat import keyboard
from moorage.adapters.gateways.chat.keyboard import (
    Key,
    Pipe,
    Terminal,
    is_interactive,
    open_keyboard,
)
from moorage.adapters.gateways.frame import CommandFailed


@pytest.fixture
def pipe():
    """(a Pipe, the end to write into)."""
    reader, writer = os.pipe()
    with open(writer, "wb", buffering=0) as file:
        yield Pipe(reader), file
    os.close(reader)


@pytest.fixture
def terminal():
    """(a Terminal without readline, the person's end, the terminal's end)."""
    master, slave = pty.openpty()
    yield Terminal(slave, None), master, slave
    os.close(master)
    os.close(slave)


async def read(source, *, editing: bool = False) -> str | Key:
    with trio.fail_after(60):
        return await source.read("", editing=editing)


async def test_a_pipe_gives_lines_and_then_its_end(pipe):
    source, file = pipe
    file.write("one\r\nzwö\n\nlast".encode())
    file.close()

    lines = [await read(source) for _ in range(6)]

    assert lines == ["one", "zwö", "", "last", Key.END, Key.END]


async def test_a_line_may_come_in_pieces(pipe):
    source, file = pipe
    file.write(b"zw" + b"\xc3")
    lines = []

    async with trio.open_nursery() as nursery:

        async def take() -> None:
            lines.append(await read(source))

        nursery.start_soon(take)
        file.write(b"\xb6\n")

    assert lines == ["zwö"]


async def test_what_comes_after_a_cancellation_is_not_lost(pipe):
    source, file = pipe
    with trio.move_on_after(0):
        await read(source)

    file.write(b"one\n")

    assert await read(source) == "one"


@pytest.mark.parametrize("content", ["", "one\ntwo"])
async def test_a_file_gives_its_lines_though_nobody_can_wait_for_it(tmp_path, content):
    (tmp_path / "file").write_text(content)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    source = Pipe(descriptor)

    lines = [await read(source) for _ in range(3)]

    os.close(descriptor)
    assert [*content.split(), Key.END, Key.END, Key.END][:3] == lines


async def test_what_is_not_utf_8_is_told_with_its_place(pipe):
    source, file = pipe
    file.write(b"a\xffb\n")

    with pytest.raises(CommandFailed, match="byte 0xff at offset 1"):
        await read(source)


async def test_a_line_without_end_is_refused_at_a_limit(pipe, monkeypatch):
    monkeypatch.setattr(keyboard, "LINE_BYTES_MAX", 10)
    source, file = pipe
    file.write(b"x" * 11)

    with pytest.raises(CommandFailed, match="a line is over 10 bytes"):
        await read(source)


async def test_a_terminal_gives_lines_and_ctrl_d_ends_it(terminal, capsys):
    source, master, _ = terminal
    os.write(master, b"one\ntwo\n\x04")

    lines = [await read(source, editing=True) for _ in range(3)]

    assert lines == ["one", "two", Key.END]


async def test_a_line_at_a_terminal_survives_that_nobody_waits_for_it_any_more(terminal):
    source, master, _ = terminal
    os.write(master, b"on")
    with trio.move_on_after(0.05):
        await read(source)

    os.write(master, b"e\n")

    assert await read(source) == "one"


async def test_what_was_typed_before_a_question_can_be_forgotten(terminal):
    source, master, _ = terminal
    os.write(master, b"y\ny\n")
    assert await read(source) == "y"

    source.forget()
    os.write(master, b"n\n")

    assert await read(source) == "n"


async def test_a_prompt_does_not_get_into_output_that_goes_elsewhere(terminal, capsys):
    source, master, _ = terminal
    os.write(master, b"y\n")

    await source.read("sure? ", editing=False)

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "sure? ")


def test_closing_brings_back_the_mode_of_the_terminal(terminal):
    source, _, slave = terminal
    before = termios.tcgetattr(slave)
    changed = termios.tcgetattr(slave)
    changed[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSADRAIN, changed)

    source.close()

    assert before == termios.tcgetattr(slave)


def test_no_terminal_and_no_input_at_all_are_told_apart(monkeypatch):
    master, slave = pty.openpty()
    with open(slave) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        assert is_interactive()
        assert isinstance(open_keyboard(True), Terminal)
        assert isinstance(open_keyboard(False), Pipe)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not is_interactive()
    with pytest.raises(CommandFailed, match="no standard input"):
        open_keyboard(False)
    os.close(master)


class Output(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("documentation", "used"),
    [("enables GNU readline", True), ("using libedit readline", False), (None, False)],
)
def test_readline_is_used_where_there_is_one_that_knows_our_keys(monkeypatch, documentation, used):
    fake = ModuleType("readline", documentation)
    monkeypatch.setitem(sys.modules, "readline", None if documentation is None else fake)
    monkeypatch.setattr(sys, "stdout", Output())

    assert used == (keyboard._editor() is fake)


def test_readline_is_not_used_for_output_that_goes_elsewhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    assert keyboard._editor() is None
