"""Commands to sessions that other nodes hold: none is lost, none is done twice by mistake."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from moorage.runtime import commands
from moorage.runtime.errors import (
    AdmissionClosed,
    InvalidArgument,
    SessionHeld,
    StaleOwner,
    StoreFailed,
    UnknownRun,
)
from moorage.runtime.events import NewEvent
from moorage.runtime.ports import Answered
from moorage.stores.conformance.scenario import Author, note, numbers
from moorage.stores.mail import decode_answer, encode_command
from moorage.stores.postgres import inbox as module

from tests.cutting_proxy import Cut, CuttingProxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Deliver
    from moorage.stores import PostgresStore

    from tests.postgres_server import PostgresSchema


class Node:
    """A store whose owner notes what it is given and answers with ``answer(command)``."""

    def __init__(self, postgres: PostgresSchema, name: str, *, through: int | None = None) -> None:
        self.name = name
        self.store: PostgresStore = postgres.store(through=through)
        self.letters: list[str] = []
        self.delivering: Deliver | None = None
        self.given: list[tuple[str, Command]] = []
        self.answer: Callable[[Command], Any] = lambda command: name

    async def deliver(self, session_id: str, command: Command, letter: str | None = None) -> Answer:
        self.given.append((session_id, command))
        self.letters += [] if letter is None else [letter]
        if self.delivering is not None:
            return await self.delivering(session_id, command, letter)
        answer = self.answer(command)
        if isinstance(answer, trio.Event):
            await answer.wait()
            return self.name
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[Node]:
        async with self.store.opened(owner=self.name, deliver=self.deliver):
            yield self


def put(postgres: PostgresSchema, letter_id: str, command: Command, *, deliveries: int = 0) -> None:
    """A command that a node has sent that is gone; one that is gone too may have taken it."""
    kind, body = encode_command(command)
    with postgres.connect() as connection:
        connection.execute(
            "INSERT INTO command (id, session_id, kind, body, sender, deliveries, taken_by) "
            "VALUES (%s, 'a', %s, %b, 0, %s, %s)",
            (letter_id, kind, body, deliveries, 0 if deliveries else None),
        )


async def answered(postgres: PostgresSchema, letter_id: str) -> bytes:
    with trio.fail_after(60):
        while True:
            found = postgres.rows("SELECT answer FROM command WHERE id = %s", letter_id)
            if found and found[0][0] is not None:
                return bytes(found[0][0])
            await trio.sleep(0.02)


async def test_answers_and_refusals_come_back(postgres: PostgresSchema) -> None:
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        await holder.store.claim("a")
        holder.answer = lambda command: {"told": [1, b"x"]}
        assert await asker.store.hand_over("a", commands.Pause()) == {"told": [1, b"x"]}
        holder.answer = lambda command: UnknownRun("a", "r1")
        with pytest.raises(UnknownRun, match="'r1'"):
            await asker.store.hand_over("a", commands.Cancel(run_id="r1"))
        holder.answer = lambda command: KeyError("a bug")
        with pytest.raises(StoreFailed, match="Cancel failed: KeyError") as caught:
            await asker.store.hand_over("a", commands.Cancel(run_id="r1"))
        holder.answer = lambda command: object()
        with pytest.raises(InvalidArgument, match=r"the answer is a builtins\.object"):
            await asker.store.hand_over("a", commands.Cancel(run_id="r1"))

        assert caught.value.written is None
        assert holder.given[0] == ("a", commands.Pause())
        assert holder.store.statistics().delivered == 4
        assert asker.store.statistics().sent == 0


async def test_many_commands_at_once_each_get_their_answer(postgres: PostgresSchema) -> None:
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        await holder.store.claim("a")
        holder.answer = lambda command: command.run_id
        found: dict[str, Answer] = {}

        async def ask(run_id: str) -> None:
            found[run_id] = await asker.store.hand_over("a", commands.Cancel(run_id=run_id))

        async with trio.open_nursery() as nursery:
            for number in range(250):
                nursery.start_soon(ask, f"r{number}")

        assert found == {f"r{number}": f"r{number}" for number in range(250)}
        assert len(holder.given) == 250


async def test_a_command_whose_holder_dies_is_done_by_who_comes_next(
    postgres: PostgresSchema,
) -> None:
    async with Node(postgres, "asker").open() as asker:
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await asker.store.hand_over("a", commands.Pause()))

        async with trio.open_nursery() as nursery, Node(postgres, "holder").open() as holder:
            await holder.store.claim("a")
            holder.answer = lambda command: trio.Event()  # never
            nursery.start_soon(ask)
            with trio.fail_after(60):
                while not holder.given:
                    await trio.sleep(0.01)

        assert answers == ["asker"]
        assert [command for _, command in asker.given] == [commands.Pause()]


async def test_a_node_that_has_left_leaves_commands_to_the_next(postgres: PostgresSchema) -> None:
    async with (
        Node(postgres, "asker").open() as asker,
        Node(postgres, "leaving").open() as leaving,
    ):
        await leaving.store.claim("a")
        leaving.answer = lambda command: AdmissionClosed("the supervisor", reason="closed")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await asker.store.hand_over("a", commands.Pause()) == "asker"

            nursery.start_soon(ask)
            with trio.fail_after(60):
                while not leaving.given:
                    await trio.sleep(0.01)
            postgres.do("UPDATE session SET owner = NULL")


async def test_a_session_that_is_draining_says_so(postgres: PostgresSchema) -> None:
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        await holder.store.claim("a")
        holder.answer = lambda command: AdmissionClosed("session 'a'", reason="draining")

        with pytest.raises(AdmissionClosed, match="draining"):
            await asker.store.hand_over("a", commands.Pause())


async def test_a_session_that_was_claimed_meanwhile_is_found_again(
    postgres: PostgresSchema,
) -> None:
    async with Node(postgres, "first").open() as first, Node(postgres, "second").open() as second:

        def held_since(command: Command) -> Exception:
            postgres.do(
                "INSERT INTO session (id, head_seq, oldest_seq, modified_ns, change, closed, "
                "needs_worker, owner, epoch) SELECT 'a', 0, 1, 0, 0, false, false, max(number), 1 "
                "FROM node"
            )
            return SessionHeld("a", holder="second")

        first.answer = held_since

        assert await first.store.hand_over("a", commands.Pause()) == "second"
        assert len(second.given) == 1


async def test_a_command_to_nobody_is_done_by_one_node(postgres: PostgresSchema) -> None:
    async with Node(postgres, "one").open() as one, Node(postgres, "two").open() as two:
        for number in range(20):
            put(postgres, f"c{number}", commands.Cancel(run_id=f"r{number}"))

        for number in range(20):
            await answered(postgres, f"c{number}")

        given = [command.run_id for _, command in one.given + two.given]
        assert sorted(given) == sorted(f"r{number}" for number in range(20))


async def test_a_cancelled_sender_leaves_nothing_waiting(postgres: PostgresSchema) -> None:
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        await holder.store.claim("a")
        never = trio.Event()
        holder.answer = lambda command: never
        with trio.move_on_after(0.3) as scope:
            await asker.store.hand_over("a", commands.Pause())
        never.set()

        assert scope.cancelled_caught
        assert asker.store.statistics().sent == 0


async def test_a_command_that_a_dead_node_had_taken_is_done_unless_it_has_an_answer(
    postgres: PostgresSchema,
) -> None:
    put(postgres, "undone", APPEND, deliveries=1)
    put(postgres, "done", APPEND, deliveries=1)
    postgres.do("UPDATE command SET answer = 'kept', answered_at = now() WHERE id = 'done'")

    async with Node(postgres, "next").open() as node:
        body = await answered(postgres, "undone")

    assert decode_answer(body) == "next"
    assert node.letters == ["undone"]
    assert await answered(postgres, "done") == b"kept"


APPEND = commands.AppendEvents(events=(NewEvent("note", 1),), size_bytes=1)


async def test_of_two_nodes_that_do_a_command_one_does_it(postgres: PostgresSchema) -> None:
    """The first one stops with the command in its hands, and goes on when the second has done
    it: by its epoch, if nobody claimed meanwhile, it could still write."""
    async with Node(postgres, "first").open() as first, Node(postgres, "second").open() as second:
        author = await Author.of(first.store, "a")
        await author.write(note(1))
        never = trio.Event()
        first.answer = lambda command: never
        put(postgres, "c", APPEND)
        with trio.fail_after(60):
            while not first.letters:
                await trio.sleep(0.01)
            postgres.do(
                "UPDATE node SET lease_until = now() - interval '1 s' WHERE owner = 'first'"
            )
            while not second.letters:
                await trio.sleep(0.01)
        assert decode_answer(await answered(postgres, "c")) == "second"

        for claim_again in (False, True):
            if claim_again:
                author = await Author.of(first.store, "a")
            with pytest.raises(StoreFailed, match="taken over by another process") as caught:
                await first.store.append(
                    author.claim,
                    expected_seq=2,
                    records=[note(2)],
                    answered=[Answered("c", "first")],
                )
            assert caught.value.written is False
        await author.write(note(2))
        never.set()

        assert decode_answer(await answered(postgres, "c")) == "second"


async def test_answers_of_many_sessions_go_with_one_commit_and_each_by_itself(
    postgres: PostgresSchema,
) -> None:
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        authors = {name: await Author.of(holder.store, name) for name in ("a", "b", "c")}
        for author in authors.values():
            await author.write(note(1))
        together: list[str] = []
        everybody = trio.Event()

        async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
            assert letter is not None
            together.append(session_id)
            if len(together) == len(authors):
                everybody.set()
            await everybody.wait()
            answer = Answered(letter if session_id != "b" else "no such letter", session_id)
            await holder.store.append(
                authors[session_id].claim, expected_seq=2, records=[note(2)], answered=[answer]
            )
            return "told later, and no more than told"

        holder.delivering = deliver
        before = holder.store.statistics().commits
        found: dict[str, Answer] = {}

        async def ask(name: str) -> None:
            try:
                found[name] = await asker.store.hand_over(name, commands.Pause())
            except StoreFailed as error:
                found[name] = error.written

        async with trio.open_nursery() as nursery:
            for name in authors:
                nursery.start_soon(ask, name)

        assert found == {"a": "a", "b": False, "c": "c"}
        assert holder.store.statistics().commits == before + 1
        assert [len(await numbers(asker.store, name)) for name in authors] == [2, 1, 2]


@pytest.mark.parametrize("when", Cut)
async def test_an_answer_whose_connection_is_cut_is_kept_once(
    postgres: PostgresSchema, when: Cut
) -> None:
    async with (
        CuttingProxy(postgres.server.port).running() as proxy,
        Node(postgres, "holder", through=proxy.port).open() as holder,
        Node(postgres, "asker").open() as asker,
    ):
        author = await Author.of(holder.store, "a")
        await author.write(note(1))

        async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
            assert letter is not None
            await holder.store.append(
                author.claim,
                expected_seq=2,
                records=[note(2, data={"number": 2, "blob": b"cut the connection here"})],
                answered=[Answered(letter, "done")],
            )
            return "done"

        holder.delivering = deliver
        proxy.plan[b"cut the connection here"] = (when, 1)
        with trio.fail_after(60):
            assert await asker.store.hand_over("a", commands.Pause()) == "done"

        assert proxy.cuts == 1
        assert await numbers(asker.store, "a") == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    "failure",
    [StaleOwner("a", epoch=1, current="epoch 2"), StoreFailed("connection lost", written=None)],
    ids=lambda failure: failure.code,
)
async def test_a_command_whose_session_was_lost_under_it_is_delivered_again(
    postgres: PostgresSchema, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELIVERIES_MAX", 3)
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        await holder.store.claim("a")
        holder.answer = lambda command: failure if len(holder.letters) == 1 else "done"
        with trio.fail_after(60):
            assert await asker.store.hand_over("a", commands.Pause()) == "done"
            assert len(set(holder.letters)) == 1
            assert len(holder.letters) == 2

            holder.answer = lambda command: failure
            with pytest.raises(type(failure)):
                await asker.store.hand_over("a", commands.Pause())
        assert len(holder.letters) == 2 + 3


async def test_a_command_of_a_later_release_is_refused(postgres: PostgresSchema) -> None:
    async with Node(postgres, "old").open():
        postgres.do(
            "INSERT INTO command (id, session_id, kind, body, sender) "
            "VALUES ('c', 'a', 'Explode', '', 0)"
        )

        with pytest.raises(StoreFailed, match="no command that this release knows"):
            decode_answer(await answered(postgres, "c"))


async def test_a_node_that_lost_a_session_without_being_told_sends_commands_to_its_owner(
    postgres: PostgresSchema,
) -> None:
    async with Node(postgres, "first").open() as first, Node(postgres, "second").open() as second:
        await first.store.claim("a")
        postgres.do("UPDATE node SET lease_until = now() - interval '1 s' WHERE owner = 'first'")
        await second.store.claim("a")

        async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
            await first.store.claim(session_id)
            return "first"

        first.delivering = deliver
        with trio.fail_after(60):
            assert await first.store.hand_over("a", commands.Pause()) == "second"


async def test_a_command_that_is_put_again_behind_its_answer_is_done_once(
    postgres: PostgresSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection was lost with the news that it was put, and the answer came meanwhile."""
    put_once = module._put
    looked = threading.Event()

    def put_twice(connection: Any, *command: Any) -> None:
        put_once(connection, *command)
        looked.wait(60)
        put_once(connection, *command)

    monkeypatch.setattr(module, "_put", put_twice)
    async with Node(postgres, "holder").open() as holder, Node(postgres, "asker").open() as asker:
        await holder.store.claim("a")

        async def look() -> None:
            with trio.fail_after(60):
                while not postgres.rows("SELECT FROM command WHERE answer IS NOT NULL"):
                    await trio.sleep(0.01)
            await asker.store._node.inbox.fetch()
            looked.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            assert await asker.store.hand_over("a", commands.Pause()) == "holder"
        await holder.store._node.inbox.fetch()

        assert len(holder.given) == 1


async def test_a_node_whose_lease_was_over_does_not_take_its_own_commands_again(
    postgres: PostgresSchema,
) -> None:
    """The database was away for longer than a lease, and the node goes on when it is back."""
    async with Node(postgres, "only").open() as node:
        never = trio.Event()
        node.answer = lambda command: never
        put(postgres, "c", APPEND)
        with trio.fail_after(60):
            while not node.letters:
                await trio.sleep(0.01)
        postgres.do("UPDATE node SET lease_until = now() - interval '1 s'")
        await node.store._node.inbox.fetch()
        postgres.do("UPDATE command SET taken_by = NULL")  # it is about to be given back
        await node.store._node.inbox.fetch()
        await trio.testing.wait_all_tasks_blocked()
        letters = list(node.letters)
        deliveries = postgres.rows("SELECT deliveries FROM command")
        never.set()
        await answered(postgres, "c")

    assert letters == ["c"]
    assert deliveries == [(1,)]
