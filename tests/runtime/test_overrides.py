from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    InvalidArgument,
    RecordTooLarge,
    current_overrides,
    open_supervisor,
    overriding,
)
from moorage.runtime.overrides import METADATA_KEY, overrides_of, with_overrides
from moorage.stores import MemoryStore


async def tell(request, context):
    """An agent whose output is the overrides that it finds."""
    return dict(current_overrides())


async def outputs(*runs):
    return [(await run.wait()).unwrap() for run in runs]


async def test_runs_that_are_submitted_in_the_block_see_what_it_sets():
    async with open_supervisor(MemoryStore(), tell) as supervisor:
        session = await supervisor.session("a")
        before = await session.submit(None)
        with overriding(model="small", depth=3):
            inside = await session.submit(None)
            at_once = await supervisor.run_once(None)
        after = await session.submit(None)

        assert await outputs(before, inside, after) == [{}, {"model": "small", "depth": 3}, {}]
        assert at_once.unwrap() == {"model": "small", "depth": 3}


async def test_an_inner_block_beats_an_outer_one_name_by_name_and_none_takes_back():
    with overriding(a=1, b=1, c=1):
        with overriding(b=2, c=None):
            inner = dict(current_overrides())
        outer = dict(current_overrides())

    assert (inner, outer, current_overrides()) == ({"a": 1, "b": 2}, {"a": 1, "b": 1, "c": 1}, {})


async def test_the_block_is_left_by_an_exception_too():
    with pytest.raises(KeyError), overriding(a=1):
        raise KeyError

    assert current_overrides() == {}


async def test_other_tasks_see_nothing_of_it_and_those_it_starts_do():
    seen = {}

    async def look(name):
        seen[name] = dict(current_overrides())

    async with trio.open_nursery() as nursery:
        with overriding(a=1):
            nursery.start_soon(look, "started inside")
        nursery.start_soon(look, "started outside")

    assert seen == {"started inside": {"a": 1}, "started outside": {}}


async def test_a_run_finds_them_in_its_tasks_and_threads():
    async def agent(request, context):
        return [
            dict(current_overrides()),
            dict(await trio.to_thread.run_sync(current_overrides)),
            dict(overrides_of(context.metadata)),
        ]

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        with overriding(a=1):
            outcome = await supervisor.run_once(None)

    assert outcome.unwrap() == [{"a": 1}] * 3


async def test_runs_that_a_run_submits_inherit_them():
    async def agent(request, context):
        if request.input == "inner":
            return dict(current_overrides())
        other = await supervisor.session("other")
        with overriding(b=2):
            return (await other.execute("inner")).unwrap()

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("a")
        with overriding(a=1):
            run = await session.submit("outer")

        assert await outputs(run) == [{"a": 1, "b": 2}]


async def test_a_session_that_was_opened_in_a_block_keeps_nothing_of_it():
    async with open_supervisor(MemoryStore(), tell) as supervisor:
        with overriding(a=1):
            session = await supervisor.session("a")
        run = await session.submit(None)

        assert await outputs(run) == [{}]


async def test_they_survive_a_restart_and_every_attempt(autojump_clock):
    store = MemoryStore()
    seen = []

    async def agent(request, context):
        seen.append((request.attempt, dict(current_overrides())))
        if request.attempt == 1:
            await trio.sleep_forever()

    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("a")
        with overriding(model="small"):
            run = await session.submit(None, on_interrupt="requeue")
    async with open_supervisor(store, agent) as supervisor:
        session = await supervisor.session("a")
        await session.wait(run.id)

    assert seen == [(1, {"model": "small"}), (2, {"model": "small"})]


async def test_what_was_set_does_not_change_with_its_values():
    names = ["a"]
    async with open_supervisor(MemoryStore(), tell) as supervisor:
        with overriding(names=names):
            names.append("b")
            outcome = await supervisor.run_once(None)

    assert outcome.unwrap() == {"names": ["a"]}


def test_they_travel_beside_other_metadata_which_counts_for_more():
    with overriding(a=1, b=1):
        made = with_overrides({"tenant": "x", METADATA_KEY: {"b": 2}})
        bare = with_overrides(None)
        odd = with_overrides("no map")

    assert made == {"tenant": "x", METADATA_KEY: {"a": 1, "b": 2}}
    assert bare == {METADATA_KEY: {"a": 1, "b": 1}}
    assert odd == "no map"
    assert (with_overrides({"t": 1}), with_overrides(None)) == ({"t": 1}, None)


@pytest.mark.parametrize("metadata", [None, {}, {METADATA_KEY: "odd"}, {METADATA_KEY: {"a": None}}])
def test_metadata_without_settings_has_none(metadata):
    assert overrides_of(metadata) == {}


def test_what_cannot_be_recorded_is_refused_at_once_and_changes_nothing():
    with pytest.raises(InvalidArgument, match="metadata"), overriding(a=object()):
        pass
    with pytest.raises(RecordTooLarge), overriding(a="x" * 20_000):
        pass

    assert current_overrides() == {}
