import os
import signal
import threading

import attrs
import pytest
from moorage.adapters.gateways import sync_host
from moorage.runtime import AdmissionClosed, InvalidArgument, RunState
from moorage.stores import JournalStore, MemoryStore, PostgresStore

from tests.adapters.gateways.sync_host.running import (
    SECONDS_MAX,
    endless,
    event_of,
    leaves_no_thread,
    streaming,
)


@attrs.frozen
class Config:
    workers: int


@attrs.frozen
class Server:
    cfg: Config


class Worker:
    """Leaves its loop on ``handle_exit``."""

    def __init__(self):
        self.exits = []

    def handle_exit(self, number, frame):
        self.exits.append(number)


@pytest.fixture
def handler():
    """That of SIGTERM, which is put back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_several_workers_need_a_store_that_processes_share(tmp_path):
    def hooks(store):
        return sync_host.GunicornHooks(sync_host.ProcessSupervisor(lambda: store, streaming))

    hooks(JournalStore(tmp_path)).on_starting(Server(Config(workers=1)))
    hooks(PostgresStore("postgresql://nowhere")).on_starting(Server(Config(workers=4)))
    with pytest.raises(InvalidArgument, match=r"workers is 4, and a JournalStore .* workers = 1"):
        hooks(JournalStore(tmp_path)).on_starting(Server(Config(workers=4)))


@pytest.mark.usefixtures("handler")
@leaves_no_thread
def test_sigterm_begins_to_drain_at_once_so_that_followers_see_the_end():
    moorage = sync_host.ProcessSupervisor(MemoryStore, streaming)
    hooks, worker, drained = sync_host.GunicornHooks(moorage), Worker(), threading.Event()
    with moorage.get().session("user-1").subscribe() as events:
        following = threading.Thread(target=lambda: (list(events), drained.set()))
        following.start()

        hooks.post_worker_init(worker)
        os.kill(os.getpid(), signal.SIGTERM)

        assert worker.exits == [signal.SIGTERM]
        assert drained.wait(SECONDS_MAX)
        following.join(SECONDS_MAX)
    hooks.worker_exit(None, worker)
    with pytest.raises(AdmissionClosed):
        moorage.get()


@leaves_no_thread
def test_a_worker_that_ends_without_sigterm_is_drained_as_well():
    moorage = sync_host.ProcessSupervisor(MemoryStore, streaming)
    session = moorage.get().session("user-1")

    sync_host.GunicornHooks(moorage).worker_exit(None, Worker())

    with pytest.raises(AdmissionClosed):
        session.submit("more")


@leaves_no_thread
def test_closing_again_waits_for_the_drain_that_somebody_has_begun():
    store = MemoryStore()
    moorage = sync_host.ProcessSupervisor(lambda: store, endless)
    session = moorage.get().session("user-1")
    run = session.submit("x")
    event_of(session, "message_streamed")
    left_over = []

    def close():
        moorage.close()
        names = [thread.name for thread in threading.enumerate()]
        left_over.append("moorage supervisor" in names)

    closing = [threading.Thread(target=close) for _ in range(2)]
    for thread in closing:
        thread.start()
    run.cancel()
    for thread in closing:
        thread.join(SECONDS_MAX)

    assert left_over == [False, False]
    with sync_host.open_reader(store) as reader:
        assert reader.session("user-1").wait(run.id).state is RunState.CANCELLED
