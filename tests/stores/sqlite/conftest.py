"""SQLite on files that really fail: the writer's log stands on another device for one commit."""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from moorage.stores import SqliteStore
from moorage.stores.conformance import Content
from moorage.stores.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEVICES = {
    # every write: no space left
    Fault.NOT_WRITTEN: "/dev/full",
    # takes every write, and cannot be synced
    Fault.POISON: "/dev/null",
}


class Faults:
    """What the next commit of any writer meets; ``synchronous`` as each writer has it set."""

    def __init__(self) -> None:
        self.planned: list[str] = []

    def fail_next(self, fault: Fault) -> None:
        self.planned.append(DEVICES[fault])

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(
            *arguments, **options, factory=functools.partial(FailingConnection, faults=self)
        )


class FailingConnection(sqlite3.Connection):
    """Knows the descriptor of its write-ahead log, and puts a device there for one commit."""

    def __init__(self, *arguments: Any, faults: Faults, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._faults = faults
        self._is_writer = "mode=rw" in str(arguments[0])
        self._log: int | None = None

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if not self._is_writer:
            return super().execute(statement, parameters)
        if self._log is None:
            before = open_logs()
            cursor = super().execute(statement, parameters)
            self._log = min(open_logs() - before, default=None)
            return cursor
        if statement == "COMMIT" and self._faults.planned:
            return self._on_device(self._faults.planned.pop(), statement)
        return super().execute(statement, parameters)

    def _on_device(self, device: str, statement: str) -> sqlite3.Cursor:
        assert self._log is not None
        kept = os.dup(self._log)
        other = os.open(device, os.O_RDWR)
        os.dup2(other, self._log)
        try:
            return super().execute(statement)
        finally:
            os.dup2(kept, self._log)
            os.close(kept)
            os.close(other)


def open_logs() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").endswith("-wal"):
                found.add(int(name))
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def content(tmp_path: Path, faults: Faults) -> Content:
    """A file in which everything can be checked."""
    path = tmp_path / "live" / "data.sqlite"
    crashes = iter(range(1_000))

    def after_crash() -> Callable[[], SqliteStore]:
        found = tmp_path / f"crash-{next(crashes)}"
        found.mkdir()
        for file in path.parent.iterdir():
            if not file.name.endswith(("-shm", "-lock")):
                shutil.copy(file, found)
        return lambda: SqliteStore(found / path.name)

    return Content(lambda: SqliteStore(path, connect=faults.connect), after_crash, faults.fail_next)
