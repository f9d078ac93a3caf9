"""Demands and offers as words, and shares that are fair, disjoint and complete."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.placement import (
    NodeInfo,
    NodeState,
    SessionHolder,
    UnheldSession,
    agents_in,
    share_of,
    tags_in,
    words_of,
)

ANY = frozenset[str]()


def node(capacity: int, *, busy: int = 0, offer: frozenset[str] = ANY, **more: object) -> NodeState:
    return NodeState(offer, capacity, 1_000, sessions_busy=busy, **more)  # type: ignore[arg-type]


def sessions(count: int, demands: frozenset[str] = ANY, prefix: str = "s") -> list[UnheldSession]:
    return [UnheldSession(f"{prefix}{number}", demands) for number in range(count)]


def shares(waiting: list[UnheldSession], nodes: dict[str, NodeState]) -> dict[str, int]:
    return {name: len(share_of(name, waiting, nodes)) for name in nodes}


def test_words_tell_tags_and_agents() -> None:
    words = words_of({"region": "eu", "gpu": "a=b"}, ("coder", ""))

    assert words == {"tag:region=eu", "tag:gpu=a=b", "agent:coder", "agent:"}
    assert tags_in(words) == {"region": "eu", "gpu": "a=b"}
    assert agents_in(words) == ("", "coder")
    assert (tags_in(ANY), agents_in(ANY)) == ({}, ())


def test_a_node_serves_what_it_offers_all_of_unless_it_drains_or_is_gone() -> None:
    state = node(10, offer=words_of({"region": "eu"}, ("",)))
    draining = node(10, offer=state.offer, draining=True)
    demands = words_of({"region": "eu"}, ())
    live = NodeInfo("1", "a", 0.0, 5.0, 0, state)

    assert state.serves(demands)
    assert not state.serves(demands | {"agent:coder"})
    assert not draining.serves(ANY)
    assert live.live
    assert live.serves(demands)
    assert not NodeInfo("1", "a", 0.0, -1.0, 0, state).serves(demands)
    assert not NodeInfo("1", "a", 0.0, 5.0, 0).serves(demands)


def test_who_has_a_session_has_it_until_its_lease_is_over() -> None:
    assert SessionHolder("1", "a", 7, 0.1).live
    assert not SessionHolder("1", "a", 7, 0.0).live


@pytest.mark.parametrize(
    ("state", "capacity", "load", "free"),
    [
        (NodeState(ANY, 10, 5), 5, 0, 5),
        (NodeState(ANY, 10, 20, sessions_busy=3, runs_running=7), 10, 7, 3),
        (NodeState(ANY, 10, 20, sessions_busy=8, runs_running=1), 10, 8, 2),
        (NodeState(ANY, 10, 2, sessions_busy=8), 2, 8, 0),
    ],
)
def test_what_is_free_is_capacity_without_load(
    state: NodeState, capacity: int, load: int, free: int
) -> None:
    assert (state.capacity, state.load, state.free) == (capacity, load, free)


def test_shares_are_as_the_capacities() -> None:
    nodes = {"a": node(10), "b": node(20), "c": node(40)}

    assert shares(sessions(70), nodes) == {"a": 10, "b": 20, "c": 40}
    assert shares(sessions(35), nodes) == {"a": 5, "b": 10, "c": 20}
    assert shares(sessions(100), nodes) == {"a": 10, "b": 20, "c": 40}


def test_who_is_loaded_gets_less_and_who_has_no_room_nothing() -> None:
    nodes = {"a": node(100, busy=50), "b": node(100), "full": node(10, busy=10)}

    assert shares(sessions(50), nodes) == {"a": 0, "b": 50, "full": 0}
    assert shares(sessions(70), nodes) == {"a": 10, "b": 60, "full": 0}
    assert share_of("full", sessions(5), {"full": nodes["full"]}) == []


def test_a_node_that_could_not_start_them_takes_them_when_nobody_can() -> None:
    saturated = NodeState(ANY, 100, 1, sessions_busy=1, runs_running=1)
    nodes = {"saturated": saturated, "free": NodeState(ANY, 100, 5)}

    assert shares(sessions(5), nodes) == {"saturated": 0, "free": 5}
    assert share_of("saturated", sessions(5), {"saturated": saturated}) == [
        f"s{number}" for number in range(5)
    ]


def test_each_session_goes_to_a_node_that_can_serve_it() -> None:
    eu, us = words_of({"region": "eu"}, ()), words_of({"region": "us"}, ())
    nodes = {"eu": node(10, offer=eu), "us": node(10, offer=us)}
    waiting = [*sessions(4, eu, "eu"), *sessions(4, us, "us"), *sessions(4), *sessions(1, eu | us)]

    assert set(share_of("eu", waiting, nodes)) >= {"eu0", "eu1", "eu2", "eu3"}
    assert set(share_of("us", waiting, nodes)) >= {"us0", "us1", "us2", "us3"}
    assert shares(waiting, nodes) == {"eu": 6, "us": 6}


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 60), st.booleans()), min_size=1, max_size=6
    ),
    st.integers(0, 150),
)
def test_shares_are_disjoint_and_leave_only_what_nobody_has_room_for(
    sizes: list[tuple[int, int, bool]], count: int
) -> None:
    nodes = {
        f"n{number}": node(size, busy=busy, draining=draining)
        for number, (size, busy, draining) in enumerate(sizes)
    }
    waiting = sessions(count)
    room = {
        name: 0 if state.draining else max(state.sessions_max - state.sessions_busy, 0)
        for name, state in nodes.items()
    }

    taken = Counter(one for name in nodes for one in share_of(name, waiting, nodes))

    assert set(taken.values()) <= {1}
    assert len(taken) == min(count, sum(room.values()))
    assert all(len(share_of(name, waiting, nodes)) <= room[name] for name in nodes)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=4), st.permutations(range(4)))
def test_nodes_that_look_one_after_the_other_come_to_the_same_as_at_once(
    sizes: list[int], order: list[int]
) -> None:
    nodes = {f"n{number}": node(size) for number, size in enumerate(sizes)}
    waiting = sessions(sum(sizes) // 2)
    at_once = shares(waiting, nodes)

    taken = {}
    for name in [f"n{number}" for number in order if number < len(sizes)]:
        share = share_of(name, waiting, nodes)
        taken[name] = len(share)
        waiting = [session for session in waiting if session.session_id not in share]
        nodes[name] = node(nodes[name].sessions_max, busy=len(share))

    assert taken == at_once
