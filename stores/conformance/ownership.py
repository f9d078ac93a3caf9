"""One owner: claims, epochs, refusals, leases, and the way to the owner."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import trio
from moorage.runtime.commands import GetStatus, Pause
from moorage.runtime.errors import MoorageError, SessionHeld, StaleOwner, UnknownRun
from moorage.runtime.ports import Snapshot

from .scenario import (
    OWNER,
    Author,
    Check,
    OpenStore,
    check,
    note,
    notes,
    numbers,
    opened,
    refuse,
    require,
    require_equal,
    require_refused,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Claim, Store


@check
async def claim_of_a_new_session_is_empty(open_store: OpenStore) -> None:
    """Claiming a session that never existed gives head_seq 0, oldest_seq 1, no info, no snapshot,
    and does not make it exist."""
    async with opened(open_store) as store:
        claim = await store.claim("a")

        require_equal(
            (claim.session_id, claim.head_seq, claim.oldest_seq, claim.info, claim.snapshot),
            ("a", 0, 1, None, None),
            "claim",
        )
        require_equal(await store.info("a"), None, "info of a session that was only claimed")


@check
async def claim_tells_what_is_there(open_store: OpenStore) -> None:
    """A claim carries the head, the oldest seq, the info and the latest snapshot."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 5))
        await store.save_snapshot(author.claim, Snapshot(seq=4, body=b"state"))
        await store.trim(author.claim, 3)
        await store.release(author.claim)
        claim = await store.claim("a")

        require_equal((claim.head_seq, claim.oldest_seq), (5, 3), "head_seq and oldest_seq")
        require_equal(claim.info, await store.info("a"), "info in the claim")
        require_equal(claim.snapshot, Snapshot(seq=4, body=b"state"), "snapshot in the claim")


@check
async def epochs_only_go_up(open_store: OpenStore) -> None:
    """Each claim has an epoch above every earlier one of that session, also after a release, a
    delete and a restart."""
    epochs: list[int] = []
    for _ in range(2):
        async with opened(open_store) as store:
            claim = await store.claim("a")
            epochs.append(claim.epoch)
            await store.release(claim)
            author = await Author.of(store, "a")
            epochs.append(author.claim.epoch)
            await author.write(note(1))
            await store.delete(author.claim)
            epochs.append((await store.claim("a")).epoch)

    require(epochs == sorted(set(epochs)), f"epochs of one session were {epochs}")


async def _require_stale_writes_refused(store: Store, stale: Claim, head_seq: int) -> None:
    writes = {
        "append": functools.partial(
            store.append, stale, expected_seq=head_seq + 1, records=[note(99)]
        ),
        "save_snapshot": functools.partial(store.save_snapshot, stale, Snapshot(1, b"stale")),
        "trim": functools.partial(store.trim, stale, head_seq + 1),
        "delete": functools.partial(store.delete, stale),
    }
    for name, write in writes.items():
        await require_refused(StaleOwner, f"{name} under a stale claim", write)
        require_equal(
            await numbers(store, stale.session_id),
            [(seq, seq) for seq in range(1, head_seq + 1)],
            f"events after {name} under a stale claim",
        )
        require_equal(
            await store.snapshot(stale.session_id), None, f"snapshot after a stale {name}"
        )


@check
async def stale_epoch_is_refused(open_store: OpenStore) -> None:
    """A write under an older epoch raises StaleOwner and changes nothing."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        newer = await Author.of(store, "a")
        await _require_stale_writes_refused(store, author.claim, 3)

        await newer.write(note(4))  # what was refused did not harm the owner


@check
async def claim_of_an_earlier_opening_is_refused(open_store: OpenStore) -> None:
    """A claim from before a restart is over once the session was claimed again."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
    async with opened(open_store) as store:
        newer = await Author.of(store, "a")
        await _require_stale_writes_refused(store, author.claim, 3)

        await newer.write(note(4))


async def _attempt(write: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(StaleOwner):
        await write()


async def _claim_amid_writes(store: Store, session_id: str, turns: int) -> Claim:
    """Claim a session while its owner writes, so many turns of the loop after it began."""
    author = await Author.of(store, session_id)
    await author.write(*notes(1, 5))

    async with trio.open_nursery() as nursery:
        snapshot = Snapshot(5, b"state")
        for write in (
            functools.partial(author.write, note(6)),
            functools.partial(store.trim, author.claim, 4),
            functools.partial(store.save_snapshot, author.claim, snapshot),
        ):
            nursery.start_soon(_attempt, write)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        return await store.claim(session_id)
    raise AssertionError("a nursery swallowed an exception")


@check
async def claim_counts_what_was_on_its_way(open_store: OpenStore) -> None:
    """What the owner before had on its way when a session is claimed has come or is refused: the
    claim tells all of it, and a delete takes nothing with it that is written after the claim."""
    async with opened(open_store) as store:
        for turns in (0, 1, 2, 3, 5):
            claim = await _claim_amid_writes(store, f"a{turns}", turns)
            page = await store.read(claim.session_id, backwards=True)
            require_equal(
                (claim.head_seq, claim.oldest_seq, claim.snapshot),
                (page.head_seq, page.oldest_seq, await store.snapshot(claim.session_id)),
                "head_seq, oldest_seq and snapshot, in the claim and afterwards",
            )
            async with trio.open_nursery() as nursery:
                for write in (
                    functools.partial(Author(store, claim).write, note(7)),
                    functools.partial(store.delete, claim),
                ):
                    nursery.start_soon(_attempt, write)
                    for _ in range(turns + 1):
                        await trio.lowlevel.checkpoint()
                newer = await Author.of(store, claim.session_id)
                await newer.write(note(8))
            events = await numbers(store, claim.session_id, after=newer.head_seq - 1)
            require_equal(events, [(newer.head_seq, 8)], "what was written under the new claim")


@check
async def append_continues_at_the_head_or_is_refused(open_store: OpenStore) -> None:
    """An append that does not start at head_seq + 1 raises StaleOwner and changes nothing, and the
    claim stays good."""
    async with opened(open_store) as store:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        for expected_seq in (1, 3, 5):
            append = functools.partial(
                store.append, author.claim, expected_seq=expected_seq, records=[note(99)]
            )
            await require_refused(StaleOwner, f"append at {expected_seq} with head 3", append)
        await author.write(note(4))

        require_equal(await numbers(store, "a"), [(n, n) for n in range(1, 5)], "events")


@check
async def release_of_a_stale_claim_is_ignored(open_store: OpenStore) -> None:
    """Releasing a claim that is over does nothing to the one that followed it."""
    async with opened(open_store) as store:
        stale = await store.claim("a")
        author = await Author.of(store, "a")
        await store.release(stale)
        await author.write(note(1))
        await store.release(stale)
        await author.write(note(2))

        require_equal(await numbers(store, "a"), [(1, 1), (2, 2)], "events")


@check
async def second_opener_is_refused(open_store: OpenStore) -> None:
    """A store that takes one process at a time refuses the second with SessionHeld, which names
    the holder, and takes the next one after the first has closed."""
    async with opened(open_store) as store:
        if store.lease_seconds is not None:
            return
        author = await Author.of(store, "a")
        await author.write(note(1))

        async def open_another() -> None:
            async with open_store().opened(owner="another", deliver=refuse):
                pass

        error = await require_refused(SessionHeld, "opening a store that is open", open_another)
        holder = getattr(error, "holder", "")
        require(OWNER in holder, f"the holder is {OWNER!r} and the error says {holder!r}")
        await author.write(note(2))
    async with opened(open_store) as store:
        require_equal(await numbers(store, "a"), [(1, 1), (2, 2)], "events")


@check
async def command_reaches_the_owner(open_store: OpenStore) -> None:
    """hand_over brings the command to the owner's deliver and returns its answer, or raises the
    MoorageError that it was refused with."""
    delivered: list[tuple[str, Command]] = []

    async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
        delivered.append((session_id, command))
        if isinstance(command, Pause):
            raise UnknownRun(session_id, "r1")
        return {"answer": 7}

    store = open_store()
    async with store.opened(owner=OWNER, deliver=deliver):
        author = await Author.of(store, "a")
        await author.write(note(1))
        answer = await store.hand_over("a", GetStatus())

        require_equal(answer, {"answer": 7}, "answer")
        require_equal(delivered, [("a", GetStatus())], "delivered commands")
        error = await require_refused(
            MoorageError, "a refused command", lambda: store.hand_over("a", Pause())
        )
        require_equal(type(error), UnknownRun, "type of the refusal")


@check
async def renew_returns_what_was_lost(open_store: OpenStore) -> None:
    """renew keeps the claims that are current and returns those that could not be kept."""
    async with opened(open_store) as store:
        lost = await store.claim("a")
        kept = await store.claim("b")
        await store.claim("a")

        require_equal(list(await store.renew([lost, kept])), [lost], "claims not kept")
        await Author(store, kept).write(note(1))


async def _held_beyond_a_lease(
    first: Store, second: Store, session_id: str, lease_seconds: float
) -> Author | None:
    """Hold a session for two leases, and require that ``second`` does not get it meanwhile. None
    if a step came later than a lease after the one before, on a machine that stood still: what was
    lost then was lost by right."""
    began = trio.current_time()

    def in_time() -> bool:
        return trio.current_time() - began < lease_seconds

    async def require_held(what: str) -> None:
        try:
            await second.claim(session_id)
        except SessionHeld as error:
            require("first" in error.holder, "SessionHeld does not name the holder")
        else:
            require(not in_time(), f"{what} did not raise SessionHeld")

    author = await Author.of(first, session_id)
    await author.write(*notes(1, 3))
    await require_held("claiming a leased session")
    for _ in range(4):
        await trio.sleep(lease_seconds / 2)
        renewed = trio.current_time()
        lost = list(await first.renew([author.claim]))
        if not in_time():
            return None
        require_equal(lost, [], "claims not kept")
        began = renewed
    await require_held("claiming a renewed session")
    return author if in_time() else None


@check
async def leased_session_is_held_until_the_lease_ends(open_store: OpenStore) -> None:
    """With leases: another owner's claim raises SessionHeld while the lease lives; without renew it
    ends after lease_seconds, the other may claim, and the first one's writes are refused."""
    first, second = open_store(), open_store()
    lease_seconds = first.lease_seconds
    if lease_seconds is None:
        return
    async with (
        first.opened(owner="first", deliver=refuse),
        second.opened(owner="second", deliver=refuse),
    ):
        author = None
        number = 0
        while author is None:
            number += 1
            author = await _held_beyond_a_lease(first, second, f"a{number}", lease_seconds)
        await trio.sleep(lease_seconds * 1.5)
        newer = await Author.of(second, author.claim.session_id)

        require(newer.claim.epoch > author.claim.epoch, "the epoch did not go up on takeover")
        require_equal(list(await first.renew([author.claim])), [author.claim], "claims not kept")
        await _require_stale_writes_refused(first, author.claim, 3)
        await newer.write(note(4))


@check
async def released_lease_is_free_at_once(open_store: OpenStore) -> None:
    """With leases: a released session can be claimed by another owner without waiting, and
    commands go to whoever has it."""
    first, second = open_store(), open_store()
    if first.lease_seconds is None:
        return

    async def deliver_first(session_id: str, command: Command, letter: str | None = None) -> Answer:
        return "first"

    async def deliver_second(
        session_id: str, command: Command, letter: str | None = None
    ) -> Answer:
        return "second"

    async with (
        first.opened(owner="first", deliver=deliver_first),
        second.opened(owner="second", deliver=deliver_second),
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        require_equal(await second.hand_over("a", GetStatus()), "first", "who answered")
        await first.release(author.claim)
        await (await Author.of(second, "a")).write(note(2))

        require_equal(await first.hand_over("a", GetStatus()), "second", "who answered")
        require_equal(await numbers(first, "a"), [(1, 1), (2, 2)], "events")


OWNERSHIP: tuple[Check, ...] = (
    claim_of_a_new_session_is_empty,
    claim_tells_what_is_there,
    epochs_only_go_up,
    stale_epoch_is_refused,
    claim_of_an_earlier_opening_is_refused,
    claim_counts_what_was_on_its_way,
    append_continues_at_the_head_or_is_refused,
    release_of_a_stale_claim_is_ignored,
    second_opener_is_refused,
    command_reaches_the_owner,
    renew_returns_what_was_lost,
    leased_session_is_held_until_the_lease_ends,
    released_lease_is_free_at_once,
)
