from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.errors import CorruptLog, SessionHeld, StoreFailed
from moorage.stores.conformance.scenario import Author, note, notes, numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.stores import JsonlStore
    from moorage.stores.jsonl.opening import JsonlRecovery
    from moorage.stores.simulated_disk import SimulatedDisk


async def write(opened: Any, *on: SimulatedDisk, first: int = 1, last: int = 5) -> None:
    async with opened(*on) as store:
        author = await Author.of(store, "a")
        for number in range(first, last + 1):
            await author.write(note(number))


async def recovery(opened: Any, *on: SimulatedDisk) -> JsonlRecovery:
    async with opened(*on) as store:
        return store.recovery  # type: ignore[no-any-return]


async def test_a_torn_tail_is_cut_and_told_of(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)
    whole = disk.files()[log_of("a")]
    disk.put(log_of("a"), whole + b'{"seq":6,"time":')

    found = await recovery(opened)

    (tail,) = found.cut
    assert (tail.file, tail.line, tail.offset, tail.bytes) == (
        (str(log_of("a")), 7, len(whole), 16)
    )
    assert "does not begin as it should" in tail.reason
    assert disk.files()[log_of("a")] == whole
    await write(opened, first=6, last=6)
    async with opened() as store:
        assert await numbers(store, "a") == [(n, n) for n in range(1, 7)]


@pytest.mark.parametrize("with_index", [True, False])
async def test_damage_in_the_middle_is_refused_with_file_line_and_reason(
    with_index: bool,
    opened: Any,
    disk: SimulatedDisk,
    log_of: Callable[[str], Path],
) -> None:
    await write(opened)
    content = disk.files()[log_of("a")].replace(b'"number":3', b'"number":8')
    disk.put(log_of("a"), content)
    if not with_index:
        disk.unlink(log_of("a").parents[1] / "index.jsonl")

    with pytest.raises(CorruptLog, match=r"a\.jsonl.*line 4: the checksum of it is wrong"):
        async with opened() as store:
            await store.read("a")

    assert disk.files()[log_of("a")] == content


async def test_what_the_index_knew_and_is_wrong_is_damage_also_at_the_end(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)
    disk.put(log_of("a"), disk.files()[log_of("a")].replace(b'"number":5', b'"number":6'))
    async with opened() as store:
        with pytest.raises(CorruptLog, match="line 6"):
            await store.read("a")

    disk.put(log_of("a"), disk.files()[log_of("a")][:-1])
    with pytest.raises(CorruptLog, match="line 6"):
        await recovery(opened)


async def test_a_first_line_that_is_wrong_is_damage(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)
    disk.put(log_of("a"), b"{}\n" + disk.files()[log_of("a")])

    with pytest.raises(CorruptLog, match="line 1"):
        await recovery(opened)


async def test_a_file_with_crlf_is_read_and_written_on(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)
    disk.put(log_of("a"), disk.files()[log_of("a")].replace(b"\n", b"\r\n"))

    await write(opened, first=6, last=7)

    async with opened() as store:
        assert await numbers(store, "a") == [(n, n) for n in range(1, 8)]


async def test_a_clean_end_leaves_nothing_to_read_or_to_do_again(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)

    found = await recovery(opened)
    assert (found.sessions, found.redone, found.read_bytes, found.cut) == (1, 0, 0, ())

    disk.unlink(log_of("a").parents[1] / "index.jsonl")
    found = await recovery(opened)
    assert found.read_bytes > 500


async def test_after_a_crash_commits_are_done_again(opened: Any, disk: SimulatedDisk) -> None:
    async with opened() as store:
        await (await Author.of(store, "a")).write(*notes(1, 5))
        crashed = disk.crashed(lambda count: min(1, count - 1))

    async with opened(crashed) as store:
        assert store.recovery is not None
        assert store.recovery.redone == 1
        assert await numbers(store, "a") == [(n, n) for n in range(1, 6)]


async def test_a_commit_log_that_a_power_loss_brought_back_is_not_done_again(
    opened: Any, disk: SimulatedDisk, new_store: Callable[..., JsonlStore]
) -> None:
    """Of logs that were removed one after the other, any may be there again."""
    async with opened() as store:
        await (await Author.of(store, "a")).write(*notes(1, 3))
        logs = {path: now for path, now in disk.files().items() if path.parent.name == "commits"}
    await write(opened, first=4, last=5)
    async with opened() as store:
        await (await Author.of(store, "a")).write(note(6))
        crashed = disk.crashed(lambda count: min(1, count - 1))
    for path, content in logs.items():
        crashed.create(path).write([content], 0)

    async with new_store(crashed).reading() as reader:
        assert await numbers(reader, "a") == [(n, n) for n in range(1, 7)]
    async with opened(crashed) as store:
        assert await numbers(store, "a") == [(n, n) for n in range(1, 7)]
        assert not logs.keys() & crashed.files().keys()


async def test_a_file_that_the_last_commits_belong_to_must_be_there(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)
    async with opened() as store:
        await (await Author.of(store, "a")).write(note(6))
        crashed = disk.crashed(lambda _: 0)
    crashed.unlink(log_of("a"))

    with pytest.raises(CorruptLog, match=r"it is gone, and the last commits belong to it"):
        await recovery(opened, crashed)


async def test_files_that_are_not_ours_are_left_alone(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    await write(opened)
    for name in ("README", "a.jsonl.new", ".hidden"):
        disk.create(log_of("a").with_name(name))

    assert (await recovery(opened)).sessions == 1


async def test_the_second_opener_is_told_who_holds_the_store(
    opened: Any, new_store: Callable[..., JsonlStore]
) -> None:
    async with opened():
        with pytest.raises(SessionHeld) as caught:
            await recovery(opened)

    assert re.fullmatch(r"a test \(process \d+ on .+, since .+Z\)", caught.value.holder)


async def test_a_directory_that_cannot_be_written_to_is_a_failed_store(
    opened: Any, disk: SimulatedDisk
) -> None:
    disk.fail("create", 1)

    with pytest.raises(StoreFailed, match="cannot be opened for writing") as caught:
        await recovery(opened)

    assert caught.value.written is False
    await write(opened)  # and the lock is free
