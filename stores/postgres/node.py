"""A node: one opened PostgresStore, with everything that runs while it is open."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio

from ..hints import Hint
from . import ownership
from . import statements as sql
from .failures import failure_of
from .migrations import check_version
from .place import cut
from .reading import Pool
from .watch import Watch
from .work import Append, Delete

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime.errors import StoreFailed
    from moorage.runtime.ports import Deliver

    from ..group_commit import GroupCommit, Job
    from ..relational.looking import Lookout
    from .inbox import Inbox
    from .place import Connection, Place
    from .reading import PostgresReads
    from .telling import Telling
    from .writes import Writes
_log = structlog.get_logger("moorage.stores")


class Held:
    """A session that this node has, as far as it knows; ``head_seq`` is durable, 0 if the session
    does not exist."""

    __slots__ = ("epoch", "head_seq", "number")

    def __init__(self, number: int, epoch: int, head_seq: int) -> None:
        self.number = number
        self.epoch = epoch
        self.head_seq = head_seq


class Executor:
    """The two halves that a GroupCommit needs: the thread's and the trio thread's."""

    def __init__(
        self, writes: Writes, held: dict[str, Held], lookout: Lookout, telling: Telling
    ) -> None:
        self.execute = writes.execute
        self.rest = writes.rest
        self._held = held
        self._lookout = lookout
        self._telling = telling

    def published(self, batch: list[Job]) -> None:
        """Called with what has become durable, before those who wrote it are told."""
        for job in batch:
            work = job.work
            if job.error is not None:
                continue
            if isinstance(work, Append):
                head_seq = work.expected_seq + len(work.records) - 1
                held = self._held.get(work.session_id)
                if held is not None and held.epoch == work.epoch:
                    held.head_seq = head_seq
                self._lookout.publish(work.session_id, head_seq, job.result)
                self._telling.note(work.number, head_seq, bool(job.result))
            elif isinstance(work, Delete):
                self._lookout.wake_session(work.session_id)
                self._telling.note_deleted(work.number)

    def poisoned(self, failure: StoreFailed) -> None:
        self._lookout.wake_all()


class Node:
    """``beats`` is a connection for the lease alone, so that nothing else can delay it."""

    def __init__(
        self,
        place: Place,
        number: int,
        writes: Writes,
        commits: GroupCommit,
        telling: Telling,
        inbox: Inbox,
        deliver: Deliver,
        lease_seconds: float,
    ) -> None:
        self.number = number
        self.writes = writes
        self.commits = commits
        self.inbox = inbox
        self.deliver = deliver
        self.beats = Pool(place, 1, lease_seconds / 3)
        self.unheld = Hint()
        self.telling = telling
        self.watch: Watch
        self._place = place
        self._lease_seconds = lease_seconds
        self.beats.open()

    def watching(self, pool: Pool, reads: PostgresReads, lookout: Lookout) -> Watch:
        """What tells ``lookout``, and fetches commands for this node."""
        self.watch = Watch(
            self._place,
            pool,
            reads,
            lookout,
            node=self.number,
            telling=self.telling,
            on_mail=self.inbox.fetch,
            on_beat=self.writes.cut_if_stuck,
            on_unheld=self.unheld.give,
        )
        return self.watch

    async def stop(self, pool: Pool) -> None:
        """Let what is on its way arrive; a server that hangs does not keep us for ever."""
        self.writes.stop()
        pool.cut_after(self._lease_seconds)
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_later, self._lease_seconds, self.writes.cut)
                await self.commits.stop()
                nursery.cancel_scope.cancel()

    def leave(self, pool: Pool) -> None:
        """Give everything up and close all connections. Blocks."""
        try:
            with self._place.connect() as connection:
                giving_up = threading.Timer(self._lease_seconds, cut, (connection,))
                giving_up.daemon = True
                giving_up.start()
                try:
                    ownership.leave(connection, self.number, self._place.nodes_channel)
                    if news := self.telling.take():
                        connection.execute(sql.NOTIFY, (self._place.channel, news))
                finally:
                    giving_up.cancel()
                    giving_up.join()
        except psycopg.Error as error:
            # what it holds is free when its lease is over
            _log.warning("node not taken from the database", node=self.number, error=str(error))
        finally:
            self.writes.close()
            self.beats.close()
            pool.close()


def join_nodes(place: Place, owner: str, lease_seconds: float) -> tuple[Connection, int]:
    """(connection to write with, number of the node). Blocks. Raises MigrationRequired and
    StoreFailed."""
    try:
        connection = place.connect_to_write()
        try:
            check_version(place, connection)
            return connection, ownership.join(connection, owner, lease_seconds)
        except BaseException:
            connection.close()
            raise
    except psycopg.Error as error:
        raise failure_of(error, place.described, "opening it", schema=place.schema) from error


async def _later(seconds: float, function: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    function()
