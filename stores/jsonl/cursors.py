"""Named cursors: one file for all of them, a line for each time that one was saved.

::

    {"moorage":"cursors","file":"0000000100000001","format":1,"commit":0,"crc":"..."}
    {"session_id":"user-1","life":0,"name":"reader","seq":7,"commit":0,"crc":"..."}

The last line of a name counts, if the session is still the one that it was (``life``, see
scanning.Facts). Written anew when most of it is outdated. A torn tail is left out: what was durable
is done again from the commit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import CorruptLog

from .layout import CURSORS, replace
from .lines import FORMAT, Damage, close, closing, crc_of, note_line, parse
from .scanning import read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..journal.disk import Disk, File
    from .layout import Layout

OUTDATED_LINES_MIN = 10_000


@attrs.define
class Cursors:
    """What the file holds up to ``end``: session -> its life, and name -> seq."""

    file: int
    end: int
    lines: int = 1
    saved: dict[str, tuple[int, dict[str, int]]] = attrs.Factory(dict)

    def put(self, session_id: str, life: int, name: str, seq: int) -> None:
        """A later life takes the place of an earlier one, never the other way round."""
        known, names = self.saved.get(session_id, (-1, {}))
        if life > known:
            self.saved[session_id] = life, {name: seq}
        elif life == known:
            names[name] = seq

    def of(self, session_id: str, life: int) -> dict[str, int]:
        """Those of a session's life, by name."""
        known, names = self.saved.get(session_id, (-1, {}))
        return names if known == life else {}

    @property
    def outdated(self) -> bool:
        """Whether most lines are."""
        live = sum(len(names) for _, names in self.saved.values())
        return self.lines > OUTDATED_LINES_MIN + 4 * live


def cursor_line(session_id: str, life: int, name: str, seq: int) -> bytes:
    return close([note_line(session_id=session_id, life=life, name=name, seq=seq)], CURSORS, 0)


def new_cursors(
    disk: Disk, layout: Layout, file: int, old: Cursors | None, lives: Mapping[str, int]
) -> Cursors:
    """A new file with what is still good of ``old``, durable on return. Raises OSError."""
    header = note_line(moorage="cursors", file=f"{file:016x}", format=FORMAT)
    lines = [close([header], CURSORS, 0)]
    cursors = Cursors(file, 0)
    for session_id, (life, names) in ({} if old is None else old.saved).items():
        if lives.get(session_id) == life:
            cursors.saved[session_id] = life, dict(names)
            lines += [cursor_line(session_id, life, *cursor) for cursor in names.items()]
    content = b"".join(lines)
    replace(disk, layout.path(CURSORS), content)
    disk.sync_directory(layout.root)
    cursors.end, cursors.lines = len(content), len(lines)
    return cursors


def load_cursors(disk: Disk, layout: Layout, *, synced: bool = True) -> Cursors | None:
    """What is there, None if there is no file. Raises CorruptLog and OSError.

    Without ``synced`` all counts up to the first line that is wrong, whatever follows.
    """
    path = layout.path(CURSORS)
    try:
        file = disk.open(path)
    except FileNotFoundError:
        return None
    try:
        cursors = Cursors(0, 0, 0)
        follow_cursors(file, cursors, str(path), synced=synced)
        return cursors if cursors.lines else None
    finally:
        file.close()


def follow_cursors(file: File, cursors: Cursors, path: str, *, synced: bool = True) -> None:
    """Go on reading behind ``cursors.end``. Raises CorruptLog and OSError."""
    bad: str | None = None
    for line in read_lines(file, cursors.end, file.size()):
        try:
            value = _checked(line.text)
            if bad is not None:
                raise CorruptLog(
                    file=path, offset=cursors.end, reason=f"line {cursors.lines + 1}: {bad}"
                )
            if not line.whole:
                return
            if cursors.lines:
                cursors.put(value["session_id"], value["life"], value["name"], value["seq"])
            else:
                cursors.file = int(value["file"], 16)
        except (Damage, KeyError, ValueError) as error:
            if not synced:
                return
            bad = bad or str(error)
            continue
        cursors.end = line.end
        cursors.lines += 1


def _checked(text: bytes) -> dict[str, Any]:
    end = closing(text)
    if end is None or crc_of(text[: end.start], CURSORS) != end.crc:
        raise Damage("its checksum is wrong")
    return parse(text)
