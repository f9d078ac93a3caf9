"""Commands reach sessions of other processes, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.commands import GetStatus, Pause, Submit
from moorage.runtime.errors import AdmissionClosed, QueueFull, StaleOwner, StoreFailed
from moorage.runtime.ports import Answered
from moorage.runtime.sessions import SessionState, SessionStatus
from moorage.stores.conformance.scenario import Author, note, numbers, refuse
from moorage.stores.redis import inbox as module

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime.ports import Deliver
    from moorage.stores import RedisStore

STATUS = SessionStatus("a", SessionState.OPEN, 3, 1, ("r",), (), (), 9)


class Owner:
    """Answers commands, and remembers them."""

    def __init__(self) -> None:
        self.delivered: list[tuple[str, Any]] = []
        self.letters: list[str | None] = []
        self.deliver_instead: Deliver | None = None
        self.error: Exception | None = None
        self.gate = trio.Event()
        self.gate.set()

    async def deliver(self, session_id: str, command: Any, letter: str | None = None) -> Any:
        if self.deliver_instead is not None:
            return await self.deliver_instead(session_id, command, letter)
        self.delivered.append((session_id, command))
        self.letters.append(letter)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return STATUS if isinstance(command, GetStatus) else True


async def lease_ends(store: RedisStore) -> None:
    """To the others, the process has said nothing for a lease."""
    await store._leave(tell=False)


async def test_commands_and_answers_cross_to_the_process_that_has_the_session(
    new_store: Callable[..., RedisStore],
) -> None:
    owner, first, second = Owner(), new_store(), new_store()
    submit = Submit(run_id="r", input={"b": b"\x00"}, size_bytes=9, key="k")
    async with (
        first.opened(owner="first", deliver=owner.deliver),
        second.opened(owner="second", deliver=refuse),
    ):
        await (await Author.of(first, "a")).write(note(1))

        assert await second.hand_over("a", submit) is True
        assert await second.hand_over("a", GetStatus()) == STATUS
        assert owner.delivered == [("a", submit), ("a", GetStatus())]


async def test_refusals_cross_as_they_are_and_failures_as_failed_stores(
    new_store: Callable[..., RedisStore],
) -> None:
    owner, first, second = Owner(), new_store(), new_store()
    async with (
        first.opened(owner="first", deliver=owner.deliver),
        second.opened(owner="second", deliver=refuse),
    ):
        await (await Author.of(first, "a")).write(note(1))
        owner.error = QueueFull("a", queued=5, limit=5)
        with pytest.raises(QueueFull) as caught:
            await second.hand_over("a", Pause())
        assert (caught.value.queued, caught.value.limit) == (5, 5)
        owner.error = KeyError("a defect")
        with pytest.raises(StoreFailed, match="the owner of the session failed: KeyError"):
            await second.hand_over("a", Pause())


async def test_many_commands_wait_for_their_answers_at_once(
    new_store: Callable[..., RedisStore],
) -> None:
    owner, first, second = Owner(), new_store(), new_store()
    async with (
        first.opened(owner="first", deliver=owner.deliver),
        second.opened(owner="second", deliver=refuse),
    ):
        await (await Author.of(first, "a")).write(note(1))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(second.hand_over, "a", Pause())

        assert len(owner.delivered) == 20


async def test_what_nobody_took_goes_to_whoever_has_the_session_next(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.2)
    here, first, second = Owner(), new_store(), new_store()

    async def deaf(self: Any) -> None:
        await trio.sleep_forever()

    async with second.opened(owner="second", deliver=here.deliver):
        with monkeypatch.context() as patched:
            patched.setattr(module.Inbox, "run", deaf)
            async with first.opened(owner="first", deliver=refuse):
                author = await Author.of(first, "a")
                await author.write(note(1))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(second.hand_over, "a", Pause())
                    inbox = f"{first._server.key_prefix}inbox:{first._node}"
                    while not await first._server.client.llen(inbox):
                        await trio.sleep(0.01)
                    await first.release(author.claim)
                    await lease_ends(first)

    assert here.delivered == [("a", Pause())]


async def test_what_was_taken_by_a_process_that_is_gone_is_done_by_the_next_and_by_nobody_else(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has stopped with the command in its hands, and goes on too late."""
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.2)
    owner, next_owner, first, second = Owner(), Owner(), new_store(), new_store()
    owner.gate = trio.Event()
    async with (
        first.opened(owner="first", deliver=owner.deliver),
        second.opened(owner="second", deliver=next_owner.deliver),
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        answers: list[Any] = []

        async def hand_over() -> None:
            answers.append(await second.hand_over("a", Pause()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over)
            while not owner.delivered:
                await trio.sleep(0.01)
            await first.release(author.claim)
            await lease_ends(first)

        author = await Author.of(first, "a")
        with pytest.raises(StoreFailed, match="answered before") as caught:
            await first.append(
                author.claim,
                expected_seq=2,
                records=[note(2)],
                answered=[Answered(owner.letters[0], "late")],
            )
        owner.gate.set()
        await author.write(note(2))

    assert answers == [True]
    assert owner.letters == next_owner.letters
    assert caught.value.written is False


async def test_what_a_process_had_done_before_it_was_gone_is_not_done_again(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.2)
    done, next_owner, first, second = trio.Event(), Owner(), new_store(), new_store()

    async def deliver(session_id: str, command: Any, letter: str | None = None) -> Any:
        assert letter is not None
        answered = [Answered(letter, "done")]
        await first.append(author.claim, expected_seq=2, records=[note(2)], answered=answered)
        await first.release(author.claim)
        done.set()
        return await trio.sleep_forever()

    async with second.opened(owner="second", deliver=next_owner.deliver):
        async with first.opened(owner="first", deliver=deliver):
            author = await Author.of(first, "a")
            await author.write(note(1))

            assert await second.hand_over("a", Pause()) == "done"
            await done.wait()
        assert await numbers(second, "a") == [(1, 1), (2, 2)]
    assert next_owner.delivered == []


async def test_a_command_whose_session_is_lost_under_it_is_done_all_the_same(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    owner, next_owner, first, second = Owner(), Owner(), new_store(), new_store()
    async with (
        first.opened(owner="first", deliver=owner.deliver),
        second.opened(owner="second", deliver=next_owner.deliver),
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        owner.error = StoreFailed("an answer was lost")
        with pytest.raises(StoreFailed, match="an answer was lost"):
            await second.hand_over("a", Pause())
        assert len(owner.delivered) == module.TRIES_MAX

        async def lose(session_id: str, command: Any, letter: str | None = None) -> Any:
            await first.release(author.claim)
            await second.claim("a")
            raise StaleOwner("a", epoch=1, current="epoch 2")

        owner.deliver_instead = lose
        assert await second.hand_over("a", Pause()) is True

    assert next_owner.delivered == [("a", Pause())]


async def test_a_process_that_leaves_gives_commands_on_and_refuses_its_own(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.2)
    leaving, next_owner, first, second = Owner(), Owner(), new_store(), new_store()
    leaving.error = AdmissionClosed("the supervisor", reason="closed")
    async with (
        first.opened(owner="first", deliver=leaving.deliver),
        second.opened(owner="second", deliver=next_owner.deliver),
    ):
        author = await Author.of(first, "a")
        await author.write(note(1))
        answers: list[Any] = []

        async def hand_over() -> None:
            answers.append(await second.hand_over("a", Pause()))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hand_over)
                while not leaving.delivered:
                    await trio.sleep(0.01)
                await first.release(author.claim)
            next_owner.error = leaving.error
            with pytest.raises(AdmissionClosed, match="closed"):
                await second.hand_over("a", Pause())

    assert answers == [True]
    assert len(next_owner.delivered) == 2
