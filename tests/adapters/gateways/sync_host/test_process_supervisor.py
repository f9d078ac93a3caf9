import pytest
from moorage.adapters.gateways.sync_host import ProcessSupervisor
from moorage.runtime import AdmissionClosed, SessionHeld
from moorage.stores import JournalStore, MemoryStore

from tests.adapters.gateways.sync_host.running import in_thread, leaves_no_thread, streaming
from tests.forked import forks, in_fork


@leaves_no_thread
def test_the_first_who_asks_opens_it_and_all_get_the_same():
    made = []

    def make_store():
        made.append(MemoryStore())
        return made[-1]

    moorage = ProcessSupervisor(make_store, streaming)
    assert made == []

    found = [asked() for asked in [in_thread(moorage.get) for _ in range(8)]]

    assert len(made) == 1
    assert {id(supervisor) for supervisor in found} == {id(moorage.get())}
    assert moorage.get().session("user-1").execute("hello").unwrap() == {"input": "hello"}
    moorage.close()


@leaves_no_thread
def test_closing_twice_is_harmless_and_nothing_is_opened_behind_it():
    moorage = ProcessSupervisor(MemoryStore, streaming)
    moorage.get()

    moorage.close()
    moorage.close()

    with pytest.raises(AdmissionClosed):
        moorage.get()
    ProcessSupervisor(MemoryStore, streaming).close()


@leaves_no_thread
def test_one_that_could_not_be_opened_is_tried_again(tmp_path):
    first = ProcessSupervisor(lambda: JournalStore(tmp_path), streaming)
    second = ProcessSupervisor(lambda: JournalStore(tmp_path), streaming)
    first.get()

    with pytest.raises(SessionHeld):
        second.get()
    first.close()

    assert second.get().statistics().sessions_resident == 0
    second.close()


@forks
@leaves_no_thread
def test_a_forked_process_opens_its_own_and_leaves_the_parents_alone():
    moorage = ProcessSupervisor(MemoryStore, streaming)
    session = moorage.get().session("user-1")

    def open_and_close():
        ids = [info.id for info in moorage.get().sessions()]
        moorage.close()
        return f"{ids} closed"

    assert in_fork(open_and_close) == "[] closed"
    assert session.execute("hello").unwrap() == {"input": "hello"}
    moorage.close()
