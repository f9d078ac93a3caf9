"""Who is told what, and when; over a connection that is written down instead of made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import trio
import trio.testing
from moorage.stores.postgres.telling import (
    ASK_SECONDS,
    NOTICE_BYTES_MAX,
    PAUSE_SECONDS,
    SESSIONS_MAX,
    WANTED_SECONDS,
    Telling,
)

if TYPE_CHECKING:
    from trio.testing import MockClock


class Answer:
    def __init__(self, status: psycopg.pq.ExecStatus) -> None:
        self.status = status

    def get_error_message(self) -> str:
        return "permission denied"


class WrittenLine:
    """A connection whose server answers when it is told to."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answers: list[Answer | None] = []
        self.broken = False

    @property
    def pgconn(self) -> Any:
        return self

    def send_query_params(self, statement: bytes, values: list[bytes]) -> None:
        if self.broken:
            raise psycopg.OperationalError("no connection to the server")
        assert (statement, values[0]) == (b"SELECT pg_notify($1, $2)", b"news")
        self.said.append(values[1].decode())

    def is_busy(self) -> bool:
        return not self.answers

    def get_result(self) -> Answer | None:
        return self.answers.pop(0)

    def answer(self, status: psycopg.pq.ExecStatus = psycopg.pq.ExecStatus.TUPLES_OK) -> None:
        self.answers += [Answer(status), None]


def telling() -> Telling:
    return Telling("news", 7)


async def test_nothing_is_said_while_nobody_asks(autojump_clock: MockClock) -> None:
    ours = telling()

    ours.note(1, 5, ended=False)
    ours.note_deleted(2)

    assert ours.take() == ""


async def test_who_asks_is_told_what_was_written_last_and_from_then_on(
    autojump_clock: MockClock,
) -> None:
    ours = telling()
    ours.note(1, 5, ended=True)
    ours.note(1, 6, ended=False)
    ours.note(2, 9, ended=False)

    ours.want(1)
    assert ours.take() == "7 1:6!"

    ours.note(1, 7, ended=False)
    ours.note(1, 8, ended=False)
    ours.note(2, 10, ended=False)
    assert ours.take() == "7 1:8"
    assert ours.take() == ""

    ours.note(1, 9, ended=True)
    ours.note_deleted(1)
    assert ours.take() == "7 1:-"


async def test_a_question_is_forgotten_unless_it_is_asked_again(autojump_clock: MockClock) -> None:
    ours = telling()
    ours.want(1)
    await trio.sleep(WANTED_SECONDS - 1)
    ours.want(2)
    ours.want(1)
    await trio.sleep(2)
    ours.note(1, 1, ended=False)
    assert ours.take() == "7 1:1"

    await trio.sleep(WANTED_SECONDS)
    ours.note(1, 2, ended=False)
    ours.note(2, 2, ended=False)
    ours.want(3)

    assert ours.take() == ""
    assert list(ours._wanted) == [3]


async def test_who_asks_for_everything_is_told_of_everything(autojump_clock: MockClock) -> None:
    ours = telling()
    ours.note(1, 5, ended=False)

    ours.want_any()
    ours.note(2, 6, ended=True)

    assert ours.take() == "7 1:5 2:6!"
    await trio.sleep(WANTED_SECONDS + 1)
    ours.note(1, 6, ended=False)
    assert ours.take() == ""


async def test_very_many_are_not_named_one_by_one(autojump_clock: MockClock) -> None:
    ours = telling()
    for number in range(SESSIONS_MAX + 5):
        ours.note(number, 1, ended=False)
    assert len(ours._untold) == SESSIONS_MAX
    for number in range(SESSIONS_MAX + 1):
        ours.want(number)  # which is as much as to want all
    assert len(ours._wanted) <= SESSIONS_MAX
    ours.take()
    for number in range(SESSIONS_MAX + 1):
        ours.note(number, 2, ended=False)
    assert ours.take() == "7 *"

    for number in range(900):
        ours.note(10**6 + number, 2, ended=False)
    assert ours.take() == "7 *"
    ours.ask(range(10**6, 10**6 + 900))
    for number in range(3):
        ours.note(number, 3, ended=False)
    assert ours.take() == "7 ? *"
    assert NOTICE_BYTES_MAX < 8_000

    await trio.sleep(1)
    ours.ask(range(SESSIONS_MAX + 1))
    ours.ask(range(SESSIONS_MAX + 1))
    assert ours.take() == "7 ?"
    ours.ask([1])
    assert ours.take() == ""
    await trio.sleep(1)
    ours.ask([1])
    assert ours.take() == "7 1:?"


async def test_the_same_is_asked_for_once_in_a_while(autojump_clock: MockClock) -> None:
    ours = telling()

    ours.ask([1, 2])
    assert ours.take() == "7 1:? 2:?"
    ours.ask([1, 3])
    assert ours.take() == "7 3:?"
    await trio.sleep(ASK_SECONDS)
    ours.ask([1, 3])
    assert ours.take() == "7 1:? 3:?"


async def test_one_notification_at_a_time_says_what_came_up(autojump_clock: MockClock) -> None:
    ours, line = telling(), WrittenLine()
    ours.want_any()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        ours.note(1, 1, ended=False)
        await trio.sleep(1)
        assert line.said == []  # nobody listens yet

        ours.begin(line)
        await trio.testing.wait_all_tasks_blocked()
        assert line.said == ["7 1:1"]
        ours.note(1, 2, ended=False)
        await trio.sleep(1)
        ours.collect()
        assert line.said == ["7 1:1"]  # which is under way

        line.answer()
        ours.collect()
        ours.note(1, 3, ended=False)
        ours.note(2, 1, ended=False)
        await trio.testing.wait_all_tasks_blocked()
        assert line.said[1:] == ["7 1:3 2:1"]

        line.answer(psycopg.pq.ExecStatus.FATAL_ERROR)
        ours.collect()
        ours.note(1, 4, ended=False)
        await trio.testing.wait_all_tasks_blocked()
        assert len(line.said) == 2  # no sooner than after a pause
        await trio.sleep(2 * PAUSE_SECONDS)
        assert line.said[2:] == ["7 1:4"]
        nursery.cancel_scope.cancel()


async def test_a_lost_connection_is_followed_by_a_hint_to_look(autojump_clock: MockClock) -> None:
    ours, first, second = telling(), WrittenLine(), WrittenLine()
    ours.want_any()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        ours.begin(first)
        first.broken = True
        ours.note(1, 1, ended=False)
        await trio.sleep(1)
        ours.collect()
        ours.end()
        ours.note(1, 2, ended=False)
        await trio.sleep(1)

        ours.begin(second)
        await trio.sleep(1)

        assert (first.said, second.said) == ([], ["7 *"])
        nursery.cancel_scope.cancel()
