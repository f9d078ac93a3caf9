from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.gateways.chat import conversing
from moorage.adapters.gateways.chat.conversing import Conversation, Manners
from moorage.adapters.gateways.chat.keyboard import Key, Keyboard
from moorage.adapters.gateways.chat.screen import Screen
from moorage.adapters.gateways.offline_agent import offline_agent
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from moorage.runtime import Session

REPOSITORY = Path(__file__).parents[4]
PATIENCE_SECONDS = 120.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_END = "<the end>"

PATIENT = """
from moorage.adapters.gateways.__main__ import main
from moorage.adapters.gateways.chat import conversing, keyboard, situation

situation.INTERRUPT_SECONDS = conversing.LOG_SECONDS = 3_600.0
keyboard.EDITOR_SECONDS_MAX = 10.0
main()
"""
"""The command line on a machine that may be as slow as it likes: what is pressed twice is pressed
soon after, and what is left to write is written."""

PACED = """
from moorage.adapters.gateways import offline_agent

offline_agent.SLOW_WORD_SECONDS = 0.05
offline = offline_agent.offline_agent()

class Paced:
    def __init__(self, context):
        self._context, self._begun = context, False

    def __getattr__(self, name):
        return getattr(self._context, name)

    async def emit(self, type, data, **named):
        await self._context.emit(type, data, **named)
        if type == "message_streamed" and not self._begun:
            self._begun = True
            await self._context.wait_steer()

async def agent(request, context):
    slow = "slow" in str(request.input)
    return await offline(request, Paced(context) if slow else context)
"""
"""The scripted agent, where ``slow`` says its first word and goes on when it is steered."""


class Terminal:
    """A process in a pseudo-terminal, and a person in front of it."""

    def __init__(self, command: list[str], *, cwd: Path, environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        self.mode = termios.tcgetattr(slave)
        self._slave = slave
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "INPUTRC": os.devnull, **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = ""
        """All that was written, without colors."""
        self.raw = ""
        self._read_to = 0

    def expect(self, text: str) -> str:
        """Wait until ``text`` is written behind what was expected before; returns what is between.
        Fails with what there is instead."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (at := self.seen.find(text, self._read_to)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"no {text!r} in {self.seen[self._read_to :]!r}")
        between = self.seen[self._read_to : at]
        self._read_to = at + len(text)
        return between

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            chunk = os.read(self._master, 65_536).decode("utf-8", "replace")
        except OSError:
            return False
        self.raw += chunk
        self.seen = _ESCAPES.sub("", self.raw).replace("\r\n", "\n")
        return bool(chunk)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def enter(self, text: str) -> None:
        """Type a line, behind the prompt."""
        self.expect("you> ")
        self.type(text + "\n")

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def end(self, code: int = 0) -> str:
        """Wait for the end of the process; returns what is written until then."""
        from_here = self._read_to
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(min(deadline, time.monotonic() + 0.05))
        assert code == self.process.poll(), self.seen
        os.write(self._slave, _END.encode())  # it arrives behind all that the process has written
        while _END not in self.seen:
            assert self._read(deadline), self.seen
        return self.seen[from_here:].removesuffix(_END)

    def is_as_it_was(self) -> bool:
        """Whether the terminal is in the mode that it had before the process."""
        return bool(self.mode == termios.tcgetattr(self._slave))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)


class Chats:
    """``moorage chat`` in pseudo-terminals, on one journal, from one working directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.terminals: list[Terminal] = []
        self.where = ["--data", str(directory / "data")]
        (directory / "paced.py").write_text(PACED)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", PATIENT, "chat", *self.where, *arguments]

    def __call__(self, *arguments: str, **environment: str) -> Terminal:
        terminal = Terminal(self.command(*arguments), cwd=self.directory, environment=environment)
        self.terminals.append(terminal)
        return terminal

    def piped(self, *arguments: str, input: str | bytes = "", code: int = 0) -> Any:
        """The command with standard input that is no terminal."""
        done = subprocess.run(
            self.command(*arguments),
            input=input.encode() if isinstance(input, str) else input,
            capture_output=True,
            cwd=self.directory,
            timeout=PATIENCE_SECONDS,
        )
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert code == done.returncode, done.stderr + done.stdout
        return done


@pytest.fixture
def chats(tmp_path: Path) -> Iterator[Chats]:
    made = Chats(tmp_path)
    yield made
    for terminal in made.terminals:
        terminal.close()


class Person(Keyboard):
    """What a test types; ``prompts`` are those that were shown, ``forgotten`` counts the times
    that what was typed too early was dropped."""

    redraws = False

    def __init__(self) -> None:
        self._typing, self._typed = trio.open_memory_channel[str | Key](100)
        self.prompts: list[str] = []
        self.forgotten = 0

    def type(self, line: str | Key) -> None:
        self._typing.send_nowait(line)

    async def read(self, prompt: str, *, editing: bool) -> str | Key:
        self.prompts.append(prompt)
        return await self._typed.receive()

    def forget(self) -> None:
        self.forgotten += 1

    def close(self) -> None:
        self._typing.close()


class Talk:
    """A conversation in memory, and a person who waits for what is shown before typing on."""

    def __init__(self, conversation: Conversation, person: Person) -> None:
        self.conversation = conversation
        self.person = person
        self.shown = ""
        self._read_to = 0
        self._news = trio.Event()

    async def write(self, text: str) -> None:
        self.shown += text
        self._news.set()
        self._news = trio.Event()
        await trio.lowlevel.checkpoint()

    async def expect(self, text: str) -> str:
        """Wait until ``text`` is shown; returns what stands between it and what was expected
        before."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while (at := self.shown.find(text, self._read_to)) < 0:
                await self._news.wait()
            between = self.shown[self._read_to : at]
            self._read_to = at + len(text)
            return between
        raise AssertionError(f"no {text!r} in {self.shown[self._read_to :]!r}")

    async def say(self, line: str, *, until: str) -> str:
        """Type a line, and wait for what it leads to."""
        self.person.type(line)
        return await self.expect(until)

    @property
    def session(self) -> Session:
        return self.conversation.session


@pytest.fixture
def talking(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., AbstractAsyncContextManager[Talk]]:
    """Open a Talk: ``async with talking(agent, first=..., interactive=..., ...) as talk``. Leaving
    the block ends the typing, and waits for the conversation's own end."""

    @asynccontextmanager
    async def talking(
        agent: Any = None,
        *,
        store: MemoryStore | None = None,
        first: str | None = None,
        interactive: bool = True,
        approve_all: bool = False,
        session_id: str = "s",
        log: Path | None = None,
    ) -> AsyncIterator[Talk]:
        limits = SupervisorLimits(drain_seconds=0)
        used = agent or offline_agent()
        async with open_supervisor(store or MemoryStore(), used, limits=limits) as supervisor:
            session = await supervisor.session(session_id)
            person = Person()
            conversation = Conversation(
                supervisor,
                session,
                keyboard=person,
                screen=Screen(),
                manners=Manners(interactive=interactive, approve_all=approve_all, log=log),
            )
            talk = Talk(conversation, person)
            monkeypatch.setattr(conversing, "write_soon", talk.write)
            monkeypatch.setattr(conversing, "LOG_SECONDS", PATIENCE_SECONDS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conversation.hold, first)
                yield talk
                person.type(Key.END)

    return talking
