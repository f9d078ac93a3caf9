"""The simulated disk loses what it may lose, and nothing else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from moorage.stores.journal.disk import Disk, Locked, SyncFailed
from moorage.stores.simulated_disk import DROPPED, KEPT, TORN, ZEROED, SimulatedDisk

ROOT = Path("/disk")
FILE = ROOT / "file"


def _disk(content: bytes = b"") -> SimulatedDisk:
    """One durable file with durable content."""
    disk = SimulatedDisk()
    disk.make_directory(ROOT)
    file = disk.create(FILE)
    disk.sync_directory(ROOT)
    if content:
        file.write([content], 0, sync=True)
    return disk


def _kept(_: int) -> int:
    return 0


def _outcomes(disk: SimulatedDisk) -> set[bytes | None]:
    """Every content that FILE may have after a crash; None if it is not there."""
    found: set[bytes | None] = set()
    pending: list[list[int]] = [[]]
    while pending:
        prefix = pending.pop()
        asked: list[int] = []

        def choose(count: int, prefix: list[int] = prefix, asked: list[int] = asked) -> int:
            asked.append(count)
            return prefix[len(asked) - 1] if len(asked) <= len(prefix) else 0

        found.add(disk.crashed(choose).files().get(FILE))
        taken = prefix + [0] * (len(asked) - len(prefix))
        for index in range(len(prefix), len(asked)):
            pending += [[*taken[:index], other] for other in range(1, asked[index])]
    return found


def test_it_is_a_disk() -> None:
    disk: Disk = _disk(b"hello")

    assert disk.list(ROOT) == ["file"]
    assert disk.open(FILE).read(100, 1) == b"ello"
    assert disk.open(FILE).size() == 5
    with pytest.raises(FileNotFoundError):
        disk.open(ROOT / "other")
    with pytest.raises(FileNotFoundError):
        disk.list(Path("/nowhere"))


def test_a_write_is_visible_at_once_and_durable_after_a_sync() -> None:
    disk = _disk()
    file = disk.open(FILE, write=True)
    file.write([b"ab", bytearray(b"c")], 0)

    assert disk.open(FILE).read(9, 0) == b"abc"
    assert _outcomes(disk) == {b"", b"a", b"ab", b"abc", b"\0\0\0"}

    file.sync()

    assert _outcomes(disk) == {b"abc"}


def test_a_synced_write_is_durable_and_those_before_it_are_not() -> None:
    disk = _disk(b"....")
    file = disk.open(FILE, write=True)
    file.write([b"A"], 0)
    file.write([b"B"], 2, sync=True)

    assert _outcomes(disk) == {b"..B.", b"A.B."}


def test_unsynced_writes_are_lost_in_any_subset() -> None:
    disk = _disk(b"..")
    file = disk.open(FILE, write=True)
    file.write([b"A"], 0)
    file.write([b"B"], 1)

    assert {b"..", b"A.", b".B", b"AB"} <= _outcomes(disk)  # type: ignore[operator]


def test_a_write_behind_the_end_leaves_zeros_between() -> None:
    disk = _disk(b"a")
    disk.open(FILE, write=True).write([b"b"], 3, sync=True)

    assert _outcomes(disk) == {b"a\0\0b"}


def test_a_truncation_may_be_undone_until_it_is_synced() -> None:
    disk = _disk(b"abcdef")
    file = disk.open(FILE, write=True)
    file.truncate(2)

    assert file.size() == 2
    assert _outcomes(disk) == {b"abcdef", b"ab"}
    file.sync()
    assert _outcomes(disk) == {b"ab"}
    file.truncate(4)
    file.sync()
    assert _outcomes(disk) == {b"ab\0\0"}


def test_names_are_durable_after_the_directory_is_synced() -> None:
    disk = _disk(b"old")
    new = disk.create(ROOT / "new")
    new.write([b"new"], 0, sync=True)

    disk.rename(ROOT / "new", FILE)

    assert disk.files() == {FILE: b"new"}
    assert _outcomes(disk) == {b"old", b"new"}
    disk.sync_directory(ROOT)
    assert _outcomes(disk) == {b"new"}
    disk.unlink(FILE)
    assert _outcomes(disk) == {b"new", None}
    disk.sync_directory(ROOT)
    assert _outcomes(disk) == {None}


def test_a_renamed_file_may_be_found_without_its_unsynced_content() -> None:
    disk = _disk(b"old")
    disk.create(ROOT / "new").write([b"n"], 0)
    disk.rename(ROOT / "new", FILE)
    disk.sync_directory(ROOT)

    assert _outcomes(disk) == {b"", b"n", b"\0"}


def test_a_created_file_may_not_be_there() -> None:
    disk = SimulatedDisk()
    disk.make_directory(ROOT)
    disk.create(FILE).write([b"x"], 0, sync=True)

    assert _outcomes(disk) == {None, b"x"}


def test_crashing_leaves_the_disk_itself_as_it_is() -> None:
    disk = _disk(b"a")
    disk.open(FILE, write=True).write([b"b"], 0)
    other = disk.crashed(lambda count: DROPPED if count == 4 else 0)
    other.open(FILE, write=True).write([b"c"], 0)

    assert other.files() == {FILE: b"c"}
    assert disk.files() == {FILE: b"b"}


@pytest.mark.parametrize(
    ("fate", "expected"),
    [(KEPT, b"o-new-"), (DROPPED, b"old"), (TORN, b"o-n"), (ZEROED, b"old\0\0\0")],
)
def test_each_fate_of_a_write(fate: int, expected: bytes) -> None:
    disk = _disk(b"old")
    disk.open(FILE, write=True).write([b"-new-"], 1)

    found = disk.crashed(lambda count: fate if count == 4 else 2)

    assert found.files() == {FILE: expected}


def test_a_full_disk_keeps_a_part_of_the_write_and_then_works_again() -> None:
    disk = _disk()
    file = disk.open(FILE, write=True)
    disk.fail("write", 2, after_bytes=2)
    file.write([b"good"], 0)
    with pytest.raises(OSError, match="injected into a write") as caught:
        file.write([b"fails"], 4, sync=True)
    assert caught.value.errno == errno.ENOSPC
    assert file.read(99, 0) == b"goodfa"
    file.write([b"again"], 4)

    assert file.read(99, 0) == b"goodagain"


def test_after_a_failed_sync_a_later_one_makes_nothing_durable_that_was_lost() -> None:
    disk = _disk(b"....")
    file = disk.open(FILE, write=True)
    file.write([b"A"], 0)
    disk.fail("sync", 1)
    with pytest.raises(SyncFailed) as caught:
        file.sync()
    assert caught.value.errno == errno.EIO
    file.write([b"B"], 1)
    file.sync()

    assert _outcomes(disk) == {b".B..", b"AB.."}


@pytest.mark.parametrize("kind", ["create", "rename", "unlink", "truncate", "sync_directory"])
def test_every_kind_of_operation_can_fail_and_then_changes_nothing(kind: str) -> None:
    disk = _disk(b"a")
    disk.fail(kind, 1)  # type: ignore[arg-type]
    calls = {
        "create": lambda: disk.create(ROOT / "b"),
        "rename": lambda: disk.rename(FILE, ROOT / "b"),
        "unlink": lambda: disk.unlink(FILE),
        "truncate": lambda: disk.open(FILE, write=True).truncate(0),
        "sync_directory": lambda: disk.sync_directory(ROOT),
    }

    with pytest.raises(OSError, match=f"injected into a {kind}"):
        calls[kind]()

    assert disk.files() == {FILE: b"a"}
    calls[kind]()


def test_a_lock_is_held_by_one_and_lost_in_a_crash() -> None:
    disk = _disk()
    lock = disk.lock(ROOT / "lock", "me")
    assert disk.is_locked(ROOT / "lock")
    assert disk.open(ROOT / "lock").read(9, 0) == b"me"
    with pytest.raises(Locked):
        disk.lock(ROOT / "lock", "you")
    assert not disk.crashed(_kept).is_locked(ROOT / "lock")

    lock.release()

    assert not disk.is_locked(ROOT / "lock")
    disk.lock(ROOT / "lock", "you").release()
    assert disk.open(ROOT / "lock").read(9, 0) == b"you"


def test_the_watcher_sees_the_disk_before_and_after_each_operation() -> None:
    disk = _disk()
    seen: list[tuple[str, bool, bytes]] = []
    disk.watch = lambda disk, operation, done: seen.append(
        (operation.kind, done, disk.files()[FILE])
    )
    disk.open(FILE, write=True).write([b"x"], 0, sync=True)

    assert seen == [
        ("write", False, b""),
        ("write", True, b"x"),
        ("sync", False, b"x"),
        ("sync", True, b"x"),
    ]
    assert [operation.kind for operation in disk.operations][-2:] == ["write", "sync"]


def test_content_can_decay() -> None:
    disk = _disk(b"good")
    disk.put(FILE, b"bad")

    assert _outcomes(disk) == {b"bad"}
