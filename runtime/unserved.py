"""Commands to sessions that nobody serves: decided and written without a worker.

For programs that own a store, or claim in it, without executing anything: no run is recovered or
started. What a command leaves to be done for tasks, the next worker finds in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from . import commands
from .errors import SessionBusy, SessionChanged
from .limits import SupervisorLimits
from .machine import SessionMachine
from .recall import recall_session
from .snapshots import SnapshotKeeper
from .turns import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from .commands import Answer, Command
    from .ports import Claim, Store


async def perform_unserved(
    store: Store,
    session_id: str,
    command: Command,
    *,
    time_ns: Callable[[], int],
    limits: SupervisorLimits | None = None,
) -> Answer:
    """Claim the session, do what the command says, give it up again; returns the answer.

    Raises what refuses the command, SessionHeld if another process has the session, CorruptLog
    and StoreFailed. A plain DeleteSession works on a damaged session, too.
    """
    limits = SupervisorLimits() if limits is None else limits
    claim = await store.claim(session_id)
    try:
        if isinstance(command, (commands.DeleteSession, commands.DeleteUnchanged)):
            check_unchanged(claim, command)
            await store.delete(claim)
            return claim.info is not None
        recalled = await recall_session(store, session_id, tombstone_seq=claim.head_seq)
        machine = SessionMachine(recalled.image, limits)
        if isinstance(command, commands.Trim):
            before = max(machine.trim_point(command.before), claim.oldest_seq)
            keeper = SnapshotKeeper(store, limits.snapshot_events_max)
            trimmed = await keeper.trim(claim, machine.image, before)
            if not isinstance(trimmed, int):
                raise trimmed
            return trimmed
        batch = Batch(machine.image.head_seq + 1)
        step = machine.handle(command, time_ns())
        batch.absorb(step)
        if batch.records:
            await store.append(
                claim,
                expected_seq=batch.first_seq,
                records=batch.records,
                info=machine.image.info(),
            )
        return step.answer
    finally:
        with trio.CancelScope(shield=True):
            await store.release(claim)


def check_unchanged(
    claim: Claim, command: commands.DeleteSession | commands.DeleteUnchanged
) -> None:
    """What the machine checks of a deletion, by what the claim tells. Raises SessionBusy and
    SessionChanged."""
    info = claim.info
    if info is None or isinstance(command, commands.DeleteSession):
        return
    if command.idle and (info.active or info.runs.get("waiting")):
        counts = info.runs.get
        raise SessionBusy(
            info.id,
            running=counts("running", 0) + counts("cancelling", 0),
            queued=counts("queued", 0),
            waiting=counts("waiting", 0),
        )
    if claim.head_seq != command.expected_seq:
        raise SessionChanged(info.id, expected_seq=command.expected_seq, head_seq=claim.head_seq)
