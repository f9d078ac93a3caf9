from __future__ import annotations

from typing import Any

import trio
import trio.testing
from moorage.runtime.codec import unpack
from moorage.stores.redis.watch import Watch, tell


class Server:
    """Answers what ``heads`` says."""

    def __init__(self) -> None:
        self.heads: dict[str, int] = {}

    async def ask(self, name: str, session_id: str, *_: Any) -> list[Any]:
        await trio.lowlevel.checkpoint()
        head = self.heads.get(session_id)
        return [b"ok", head or 0, 1, None if head is None else b"info"]


def test_a_message_tells_what_happened() -> None:
    assert unpack(tell("a", 7, ["r"])) == ["a", 7, ["r"]]


async def test_messages_wake_those_who_wait_and_strange_ones_nobody() -> None:
    watch = Watch(Server())  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:

        async def wait(**options: Any) -> None:
            await watch.wait("a", **options)

        nursery.start_soon(lambda: wait(after=6, run_id=None))
        nursery.start_soon(lambda: wait(after=6, run_id="r"))
        await trio.testing.wait_all_tasks_blocked()
        for data in (b"", b"\xc1", b"\x01", tell("b", 9, ())):
            watch._take({"data": data})
        assert watch.board.statistics().waiting == 2
        watch._take({"data": tell("a", 7, ())})
        assert watch.board.statistics().waiting == 1
        watch._take({"data": tell("a", -1, ())})


async def test_looking_finds_what_no_message_told_of(autojump_clock: Any) -> None:
    server = Server()
    server.heads["a"] = 5
    watch = Watch(server)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch._look)
        for change in (6, None):
            watch.expect("a")

            async def move(change: int | None = change) -> None:
                await trio.sleep(3)
                if change is None:
                    del server.heads["a"]
                else:
                    server.heads["a"] = change

            nursery.start_soon(move)
            with trio.fail_after(10):
                started = trio.current_time()
                while trio.current_time() - started < 3:
                    await watch.wait("a", after=server.heads["a"], run_id=None)
            watch.leave("a")
        nursery.cancel_scope.cancel()
    assert not watch._waited
    assert not watch._seen
