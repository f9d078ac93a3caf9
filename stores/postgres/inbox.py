"""The durable inbox: commands for sessions that another node holds, and their answers.

``send`` puts a command into the database, tells the holder, and waits for the answer to appear.
Every node takes the commands for sessions that it holds, or that nobody does, has them delivered
as if they had been given here, and writes down what came of it. A command stays until it is
answered: that of a node that died is taken by whoever comes next.

Each is done once. What it causes and the answer to it are one write (``APPEND_ANSWERING``), which
is kept out if the command has an answer or another node has taken it: so one that has none was not
done, and is done again, as often as nodes are lost over it. What caused nothing, a question or a
refusal, is answered afterwards, and may be asked twice; so may a drain and a trim, which come to
the same.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
import trio
from moorage.runtime.commands import demands_of
from moorage.runtime.errors import (
    AdmissionClosed,
    MoorageError,
    SessionHeld,
    StaleOwner,
    StoreFailed,
)

from ..mail import (
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
    encode_refusal,
)
from . import statements as sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Answered, Deliver

    from .place import Connection, Place
    from .reading import Pool

COMMANDS_PER_TAKE = 100
ANSWER_RETRY_SECONDS = 1.0
DELIVERIES_MAX = 20
"""Of a command whose session fails again and again, before its sender is told so."""
_log = structlog.get_logger("moorage.stores")


class Letter(NamedTuple):
    """A command as it was taken; ``deliveries`` counts from 1."""

    id: str
    place: int
    session_id: str
    kind: str
    body: bytes
    sender: int
    deliveries: int


class _Sent:
    """A command whose answer is waited for. It is ``put`` when it will not be sent once more: an
    answer must not be taken away before, or a command that was put twice would be done twice."""

    __slots__ = ("body", "came", "put")

    def __init__(self) -> None:
        self.put = False
        self.came = trio.Event()
        self.body = b""


class Inbox:
    """One node's side of it. ``nursery`` is where commands of others are delivered."""

    def __init__(
        self,
        place: Place,
        pool: Pool,
        *,
        node: int,
        deliver: Deliver,
        nursery: trio.Nursery,
    ) -> None:
        self.delivered = 0
        self._place = place
        self._pool = pool
        self._node = node
        self._deliver = deliver
        self._nursery = nursery
        self._sent: dict[str, _Sent] = {}
        self._under_way: set[str] = set()
        self._kept: set[str] = set()
        """Those under way whose answers were written with what they caused."""

    @property
    def sent(self) -> int:
        """How many commands wait for an answer."""
        return len(self._sent)

    async def send(self, session_id: str, command: Command, holder: int | None) -> Answer:
        """Have it executed by the node that holds the session (None: by one that can serve it), and
        return the answer or raise the refusal. Cancelled, it may be executed all the same."""
        kind, body = encode_command(command)
        letter_id = uuid.uuid4().hex
        sent = self._sent[letter_id] = _Sent()
        values = (letter_id, session_id, kind, body, self._node, sorted(demands_of(command)))
        try:
            await self._pool.ask(_put, values, self._place.mailbox(holder))
            sent.put = True
            await sent.came.wait()
        finally:
            del self._sent[letter_id]
        return decode_answer(sent.body)

    def note_kept(self, answered: Iterable[Answered]) -> None:
        """These answers are in the database."""
        self._kept.update(item.letter for item in answered if item.letter in self._under_way)

    async def fetch(self) -> None:
        """Look for answers, and for commands to be delivered here. Raises StoreFailed."""
        waiting = [letter_id for letter_id, sent in self._sent.items() if sent.put]
        if waiting:
            found = await self._pool.ask(_answers, waiting)
            for letter_id, body in found:
                sent = self._sent.get(letter_id)
                if sent is not None:
                    sent.body = body
                    sent.came.set()
            if found:
                await self._pool.ask(_collected, [letter_id for letter_id, _ in found])
        while True:
            letters = await self._pool.ask(_take, self._node, list(self._under_way))
            for letter in letters:
                if letter.id in self._under_way:  # two looks at once
                    continue
                self._under_way.add(letter.id)
                self._nursery.start_soon(self._perform, letter)
            if len(letters) < COMMANDS_PER_TAKE:
                return

    async def _perform(self, letter: Letter) -> None:
        try:
            body = await self._outcome(letter)
            while letter.id not in self._kept:
                try:
                    if body is None:
                        await self._pool.ask(_give_back, letter, self._node, self._place)
                    else:
                        await self._pool.ask(_answer, letter, self._node, self._place, body)
                    return
                except StoreFailed as error:
                    _log.warning("answer not written yet", error=str(error))
                    await trio.sleep(ANSWER_RETRY_SECONDS)
        finally:
            self._under_way.discard(letter.id)
            self._kept.discard(letter.id)

    async def _outcome(self, letter: Letter) -> bytes | None:
        """The encoded answer or refusal; None if another node is to do it."""
        try:
            command = decode_command(letter.kind, letter.body)
        except ValueError as error:
            return encode_refusal(
                StoreFailed(f"a command is not understood: {error}", written=False)
            )
        try:
            self.delivered += 1
            return encode_answer(await self._deliver(letter.session_id, command, letter.id))
        except SessionHeld:
            return None
        except StaleOwner as error:  # it was not done, and the session's next owner will do it
            return None if letter.deliveries < DELIVERIES_MAX else encode_refusal(error)
        except StoreFailed as error:
            # if it was done, it has its answer
            again = error.written is None and letter.deliveries < DELIVERIES_MAX
            return None if again else encode_refusal(error)
        except AdmissionClosed as error:
            if error.reason == "closed":  # this node has left: the next one will do it
                return None
            return encode_refusal(error)
        except MoorageError as error:
            return encode_refusal(error)
        except Exception as error:
            _log.error("command_failed", kind=letter.kind, error=repr(error))
            return encode_refusal(StoreFailed(f"{letter.kind} failed: {error!r}", written=None))


def _put(connection: Connection, values: tuple[Any, ...], mailbox: str) -> None:
    with connection.transaction():
        connection.execute(sql.SEND, values)
        connection.execute(sql.NOTIFY, (mailbox, "command"))


def _take(connection: Connection, node: int, under_way: list[str]) -> list[Letter]:
    values = {"node": node, "under_way": under_way, "limit": COMMANDS_PER_TAKE}
    rows = connection.execute(sql.TAKE, values, binary=True).fetchall()
    return sorted(map(Letter._make, rows), key=lambda letter: letter.place)


def _answers(connection: Connection, letter_ids: list[str]) -> list[tuple[str, bytes]]:
    found = connection.execute(sql.ANSWERS, (letter_ids,), binary=True).fetchall()
    return [(letter_id, body) for letter_id, body in found]


def _collected(connection: Connection, letter_ids: list[str]) -> None:
    connection.execute(sql.COLLECTED, (letter_ids,))


def _answer(connection: Connection, letter: Letter, node: int, place: Place, body: bytes) -> None:
    with connection.transaction():
        row = connection.execute(sql.ANSWER, (body, letter.id, node)).fetchone()
        if row is not None:
            connection.execute(sql.NOTIFY, (place.mailbox(row[0]), "answer"))


def _give_back(connection: Connection, letter: Letter, node: int, place: Place) -> None:
    with connection.transaction():
        connection.execute(sql.GIVE_BACK, (letter.id, node))
        row = connection.execute(sql.HOLDER, (letter.session_id,)).fetchone()
        other = letter.sender if row is None else row[0]
        connection.execute(sql.NOTIFY, (place.mailbox(other), "command"))
