"""A damaged file is told apart from a sound one, and from one that a crash cut short."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores import JsonlStore
from moorage.stores.conformance.scenario import Author, note, opened

from tests.stores.inspected import fill, inspected, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    await fill(partial(JsonlStore, tmp_path / "store"))
    return tmp_path / "store"


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def move(root: Path) -> None:
    (root / "sessions/a.jsonl").rename(root / "sessions/z.jsonl")


async def test_a_sound_store_is_counted_beside_its_owner_too(root: Path) -> None:
    report = await inspected(JsonlStore(root))

    assert (report.sessions, report.events, report.findings) == (2, 6, ())
    async with opened(partial(JsonlStore, root)) as store:
        await (await Author.of(store, "a")).write(note(5))
        assert (await inspected(JsonlStore(root))).events == 7


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda root: change(root / "sessions/a.jsonl", b'"seq":2', b'"seq":7'),
            ("a.jsonl, line",),
        ),
        (lambda root: change(root / "sessions/a.jsonl", b"r1", b"r7"), ("a.jsonl", "checksum")),
        (
            lambda root: change(root / "sessions/a.jsonl", b'"session"', b'"nothing"'),
            ("a.jsonl, line 1", "checksum"),
        ),
        (move, ("z.jsonl", "it is the file of session 'a'")),
        (
            lambda root: change(root / "snapshots/a.json", b'"seq":3', b'"seq":2'),
            ("a.json, line 1", "checksum"),
        ),
        (lambda root: change(root / "cursors.jsonl", b"cursors", b"CURSORS"), ("cursors.jsonl",)),
        (lambda root: change(root / "store.json", b"format", b"FORMAT"), ("store.json",)),
    ],
)
async def test_what_was_changed_is_told_with_file_and_line(
    root: Path, damage: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    damage(root)

    report = await inspected(JsonlStore(root))

    assert told(report, *words), report.findings
    assert not report.sound


async def test_an_index_that_tells_something_else_is_damage_and_an_older_one_is_not(
    root: Path,
) -> None:
    old = (root / "index.jsonl").read_bytes()
    async with opened(partial(JsonlStore, root)) as store:
        await (await Author.of(store, "a")).write(note(5))
    new = (root / "index.jsonl").read_bytes()

    (root / "index.jsonl").write_bytes(old)
    older = await inspected(JsonlStore(root))
    (root / "index.jsonl").write_bytes(new)
    change(root / "sessions/a.jsonl", b"\n{", b"\r\n{")  # other offsets, the same content
    other = await inspected(JsonlStore(root))

    assert older.sound
    assert told(other, "index.jsonl", "a.jsonl")


async def test_a_torn_tail_is_counted_and_no_damage(root: Path) -> None:
    with (root / "sessions/a.jsonl").open("ab") as file:
        file.write(b'{"seq":5,"time":"')

    report = await inspected(JsonlStore(root))

    assert (report.sound, report.facts["tail_bytes"]) == (True, 17)


async def test_no_store_is_a_failure_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed):
        await JsonlStore(tmp_path / "nothing").inspect()
    assert not (tmp_path / "nothing").exists()
