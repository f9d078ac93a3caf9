"""Where the files of a store are, and the number that each opening raises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import CorruptLog, StoreFailed

from ..journal.disk import creating
from .lines import FORMAT, Damage, close, closing, crc_of, note_line, parse
from .names import SUFFIX

if TYPE_CHECKING:
    from ..journal.disk import Disk

SESSIONS = "sessions"
SNAPSHOTS = "snapshots"
CURSORS = "cursors.jsonl"
PENDING_BYTES_MAX = 2**16


@attrs.frozen
class Layout:
    """``root`` is the store's directory. Names of files are told from there."""

    root: Path

    @property
    def sessions(self) -> Path:
        return self.root / SESSIONS

    @property
    def snapshots(self) -> Path:
        return self.root / SNAPSHOTS

    @property
    def commits(self) -> Path:
        return self.root / "commits"

    @property
    def lock(self) -> Path:
        return self.root / "LOCK"

    @property
    def index(self) -> Path:
        return self.root / "index.jsonl"

    @property
    def store(self) -> Path:
        return self.root / "store.json"

    def path(self, name: str) -> Path:
        return self.root / name


def log_name(stem: str) -> str:
    return f"{SESSIONS}/{stem}{SUFFIX}"


def snapshot_name(stem: str) -> str:
    return f"{SNAPSHOTS}/{stem}.json"


def load_generation(disk: Disk, layout: Layout) -> int | None:
    """How often the store was opened for writing, None if there is none.

    Raises CorruptLog, StoreFailed for a newer format, and OSError.
    """
    try:
        file = disk.open(layout.store)
    except FileNotFoundError:
        return None
    try:
        line = file.read(PENDING_BYTES_MAX, 0).rstrip(b"\r\n")
    finally:
        file.close()
    try:
        end = closing(line)
        if end is None or end.crc != crc_of(line[: end.start], "store"):
            raise Damage("its checksum is wrong")
        value = parse(line)
    except Damage as error:
        raise CorruptLog(file=str(layout.store), offset=0, reason=f"line 1: {error}") from error
    if value["format"] > FORMAT:
        raise StoreFailed(
            f"the store in {layout.root} has format {value['format']} and this version knows "
            f"{FORMAT}: use a newer moorage",
            written=False,
        )
    return value["generation"]  # type: ignore[no-any-return]


def store_generation(disk: Disk, layout: Layout, generation: int) -> None:
    """Durable on return. Raises OSError."""
    line = note_line(moorage="store", format=FORMAT, generation=generation)
    replace(disk, layout.store, close([line], "store", 0))
    disk.sync_directory(layout.root)


def replace(disk: Disk, path: Path, content: bytes) -> None:
    """Give a file new content, synced; its name is durable once its directory is synced too."""
    new = path.with_name(path.name + ".new")
    with creating(disk, new) as file:
        file.write([content], 0)
        file.sync()
    disk.rename(new, path)
