"""Where lines come from: a terminal or a pipe, without ever holding up the event loop.

Lines are read when they are there, so that nothing has to be abandoned; while a run is going on a
terminal stays in the mode in which it edits and echoes them itself. Only where nothing but the
person can make something happen does readline take over, in a thread, if there is one.
"""

from __future__ import annotations

import enum
import os
import sys
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import trio

from ..frame import CommandFailed, write

if TYPE_CHECKING:
    from types import ModuleType

CHUNK_BYTES = 65_536
LINE_BYTES_MAX = 8 * 1024 * 1024
"""Of one line; what a session takes is limited by ``record_bytes_max``, too."""
EDITOR_SECONDS_MAX = 0.5
"""How long readline may take from the start of its thread until it has changed the terminal."""
_INTERRUPT = "\x03"


class Key(enum.Enum):
    """What is no line: the end of what there is to read (Ctrl-D), or Ctrl-C typed at a prompt."""

    END = "end"
    INTERRUPT = "interrupt"


class Keyboard(Protocol):
    """Gives what is typed, line by line, without the line's end.

    ``redraws`` says whether the prompt stands where other output goes, and can be written again.
    """

    redraws: bool

    async def read(self, prompt: str, *, editing: bool) -> str | Key:
        """The next line. ``editing`` says that nothing will be written meanwhile.

        Can be cancelled, and then nothing is lost. Raises CommandFailed for a line beyond
        LINE_BYTES_MAX or one that is not UTF-8.
        """
        ...

    def forget(self) -> None:
        """Forget what was typed and not read: it was no answer to what is asked now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class _Lines:
    """Bytes in, lines out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        self._bytes += chunk

    def take(self, *, rest: bool = False) -> str | None:
        """A whole line if there is one; with ``rest`` also one that has no end."""
        line, newline, behind = self._bytes.partition(b"\n")
        if len(line) > LINE_BYTES_MAX:
            raise CommandFailed(
                f"a line is over {LINE_BYTES_MAX} bytes: break it, or use moorage run with -"
            )
        if not newline and not (rest and line):
            return None
        self._bytes = behind
        try:
            return line.decode().removesuffix("\r")
        except UnicodeDecodeError as error:
            raise CommandFailed(
                f"a line is not UTF-8: byte {line[error.start]:#04x} at offset {error.start}: "
                "convert it first, for example with iconv -t UTF-8"
            ) from None

    def clear(self) -> None:
        self._bytes.clear()


async def _chunk(descriptor: int) -> bytes:
    """What there is, b"" at the end. Nobody else may read: it would block, if they were faster."""
    try:
        await trio.lowlevel.wait_readable(descriptor)
    except PermissionError:  # of a file nobody can wait for: reading it does not block
        await trio.lowlevel.checkpoint()
    return os.read(descriptor, CHUNK_BYTES)


class Pipe:
    """Standard input that is no terminal."""

    redraws = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines = _Lines()
        self._ended = False

    async def read(self, prompt: str, *, editing: bool) -> str | Key:
        while (line := self._lines.take(rest=self._ended)) is None:
            if self._ended:
                return Key.END
            chunk = await _chunk(self._descriptor)
            self._lines.add(chunk)
            self._ended = not chunk
        return line

    def forget(self) -> None:
        """What is in a pipe was not typed too early."""

    def close(self) -> None:
        """Nothing was changed."""


class Terminal:
    """Standard input that is a terminal. ``readline`` None reads without editing of its own."""

    def __init__(self, descriptor: int, readline: ModuleType | None) -> None:
        self._descriptor = descriptor
        self._readline = readline
        self.redraws = sys.stdout.isatty()
        self._lines = _Lines()
        self._mode = termios.tcgetattr(descriptor)
        self._editing = False
        if readline is not None:
            _teach(readline)

    async def read(self, prompt: str, *, editing: bool) -> str | Key:
        if editing and self._readline is not None:
            self._editing = True
            return await trio.to_thread.run_sync(self._edit, prompt, abandon_on_cancel=True)
        if self.redraws:
            write(prompt)
        else:
            print(prompt, end="", file=sys.stderr, flush=True)
        while (line := self._lines.take()) is None:
            chunk = await _chunk(self._descriptor)
            if not chunk:
                return Key.END
            self._lines.add(chunk)
        return line

    def _edit(self, prompt: str) -> str | Key:
        """In a thread: Ctrl-C is a key there like any other, since no signal can interrupt it."""
        mode = termios.tcgetattr(self._descriptor)
        mode[6][termios.VINTR] = b"\0"
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)
        try:
            line = input(prompt)
        except EOFError:
            return Key.END
        finally:
            self._editing = False
            self.close()
        return Key.INTERRUPT if _INTERRUPT in line else line

    def forget(self) -> None:
        self._lines.clear()
        with suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def close(self) -> None:
        with suppress(termios.error):  # the terminal is gone
            give_up_at = time.monotonic() + EDITOR_SECONDS_MAX
            # a thread that was left at its prompt may be about to change the mode: let it first
            while self._editing and termios.tcgetattr(self._descriptor)[3] & termios.ICANON:
                if time.monotonic() >= give_up_at:
                    break
                time.sleep(0.005)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._mode)


def _teach(readline: Any) -> None:
    """Have Ctrl-C end the line with its own character in it."""
    readline.parse_and_bind(r'"\C-c": "\C-v\C-c\C-m"')
    readline.set_auto_history(True)


def is_interactive() -> bool:
    """Whether a person types: standard input is a terminal."""
    try:
        return os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def open_keyboard(interactive: bool) -> Keyboard:
    """Of standard input. Raises CommandFailed if there is none."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise CommandFailed("there is no standard input to read messages from") from None
    if not interactive:
        return Pipe(descriptor)
    return Terminal(descriptor, _editor())


def _editor() -> ModuleType | None:
    """readline, where input() uses it; libedit under that name knows no such key binding."""
    if not sys.stdout.isatty():
        return None
    try:
        import readline
    except ImportError:
        return None
    return None if "libedit" in (readline.__doc__ or "") else readline
