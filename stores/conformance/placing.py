"""Nodes that share a store by leases: who is there, who can serve what, and what nobody has.

All of these pass on a store without leases.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio
from moorage.runtime.commands import GetStatus, OpenSession, Submit
from moorage.runtime.placement import NodeState, words_of
from moorage.runtime.ports import holder_reader, nodes_reader, shared

from .scenario import (
    NEWS_SECONDS_MAX,
    Author,
    Check,
    OpenStore,
    check,
    comes_soon,
    facts,
    note,
    require,
    require_equal,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.placement import UnheldSession
    from moorage.runtime.ports import NodesReader, SharedStore

QUEUED = {"queued": 1}
EU = words_of({"region": "eu"}, ("", "coder"))
US = words_of({"region": "us"}, ("",))


def _state(offer: frozenset[str], *, draining: bool = False) -> NodeState:
    return NodeState(offer, 40, 30, sessions_busy=2, runs_running=1, draining=draining)


def _has_leases(open_store: OpenStore) -> bool:
    return open_store().lease_seconds is not None


@contextlib.asynccontextmanager
async def _node(open_store: OpenStore, name: str) -> AsyncGenerator[SharedStore]:
    """An open node whose deliver answers with its name."""

    async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
        return name

    store = open_store()
    async with store.opened(owner=name, deliver=deliver):
        found = shared(store)
        assert found is not None, "asked of stores with leases only"
        yield found


async def _leave(store: SharedStore, name: str, **changes: object) -> None:
    """A session that needs a worker, unless ``changes`` say otherwise, and that nobody has."""
    author = await Author.of(store, name)
    await author.write(note(1), info=facts(name, **{"runs": QUEUED, **changes}))
    await store.release(author.claim)


def _ids(found: list[UnheldSession]) -> list[str]:
    return sorted(session.session_id for session in found)


@check
async def sessions_that_nobody_has_are_told(open_store: OpenStore) -> None:
    """With leases: what needs a worker and is held by nobody is told to whoever looks for it, as
    many as he wants, and nothing else is."""
    if not _has_leases(open_store):
        return
    async with _node(open_store, "first") as first, _node(open_store, "second") as second:
        authors = {name: await Author.of(first, name) for name in ("a", "b", "idle")}
        for number, (name, author) in enumerate(authors.items()):
            runs = {} if name == "idle" else QUEUED
            await author.write(note(number + 1), info=facts(name, runs=runs))
        require_equal(_ids([*await second.unheld(10)]), [], "sessions that nobody has")

        await first.release(authors["idle"].claim)
        await first.release(authors["a"].claim)
        require_equal(_ids([*await second.unheld(10)]), ["a"], "sessions that nobody has")

        await first.release(authors["b"].claim)
        require_equal(_ids([*await second.unheld(10)]), ["a", "b"], "sessions that nobody has")
        require_equal(len(await second.unheld(1)), 1, "sessions told of the one asked for")


@check
async def node_is_offered_what_it_can_serve(open_store: OpenStore) -> None:
    """With leases: who looks with an offer is told of sessions whose demands it meets, with those
    demands, as the latest info says them; who looks without is told of all."""
    if not _has_leases(open_store):
        return
    async with _node(open_store, "first") as first:
        await _leave(first, "any")
        await _leave(first, "eu", node_tags={"region": "eu"}, agents=("", "coder"))
        await _leave(first, "us", node_tags={"region": "us"}, agents=("",))
        await _leave(first, "moved", node_tags={"region": "us"})
        await _leave(first, "moved", node_tags={"region": "eu"})

        for offer, expected in (
            (EU, ["any", "eu", "moved"]),
            (US, ["any", "us"]),
            (frozenset[str](), ["any"]),
            (None, ["any", "eu", "moved", "us"]),
        ):
            found = [*await first.unheld(10, offer=offer)]
            require_equal(_ids(found), expected, "sessions that nobody has and the offer serves")
        told = {session.session_id: session.demands for session in await first.unheld(10)}
        require_equal((told["eu"], told["any"]), (EU, frozenset()), "demands of sessions")
        require_equal(len(await first.unheld(1, offer=US)), 1, "sessions told of the one asked for")


@check
async def nodes_know_each_other(open_store: OpenStore) -> None:
    """With leases: what a node announced the others get when they announce, their own first, and
    readers too, with how many sessions it has; it is gone when it has closed."""
    if not _has_leases(open_store):
        return
    eu, us = _state(EU), _state(US, draining=True)
    async with _node(open_store, "first") as first:
        async with _node(open_store, "second") as second:
            await second.announce(us)
            found = await first.announce(eu)
            require_equal(list(found.values()), [eu, us], "states of all nodes, ours first")
            require_equal([*(await second.announce(us)).values()], [us, eu], "states, ours first")
            await (await Author.of(first, "a")).write(note(1))

            async with first.reading() as reader:
                for nodes in (await nodes_reader(reader).nodes(), await second.nodes()):
                    require_equal([node.id for node in nodes], list(found), "ids of nodes")
                    require_equal([node.state for node in nodes], [eu, us], "states of nodes")
                    require_equal([node.sessions for node in nodes], [1, 0], "sessions of nodes")
                    require("first" in nodes[0].owner, "the owner is not told")
                    require(all(node.live for node in nodes), "an open node is not live")
        require_equal([node.state for node in await first.nodes()], [eu], "states of nodes")
        require_equal([*(await first.announce(eu)).values()], [eu], "states of live nodes")


@check
async def holder_of_a_session_is_told(open_store: OpenStore) -> None:
    """With leases, of a store that tells (HolderReader): nodes and readers are told who has a
    session, with the epoch of its claim, and that nobody has it when it was given up."""
    if not _has_leases(open_store):
        return
    async with _node(open_store, "first") as first, _node(open_store, "second") as second:
        if not hasattr(first, "holder"):
            return
        async with first.reading() as reader:
            for owner, others in ((first, "second"), (second, "first")):
                author = await Author.of(owner, "a")
                if author.claim.info is None:
                    await author.write(note(1))
                for asked in (first, second, reader):
                    holder = await holder_reader(asked).holder("a")
                    require(holder is not None, "it is held, and nobody is told to have it")
                    assert holder is not None
                    require(others not in holder.owner, f"{holder.owner} is told to have it")
                    require_equal(holder.epoch, author.claim.epoch, "epoch of who has it")
                    require(holder.live, "the lease of who has it is over")
                    nodes = {node.id: node.owner for node in await owner.nodes()}
                    require_equal(nodes[holder.node_id], holder.owner, "owner of that node")
                await owner.release(author.claim)
                for asked in (first, second, reader):
                    told = await holder_reader(asked).holder("a")
                    require_equal(told, None, "who has it when it was given up")
            require_equal(await holder_reader(reader).holder("b"), None, "who has no session")


@check
async def node_that_says_nothing_for_a_lease_is_gone(open_store: OpenStore) -> None:
    """With leases: a node that neither announces nor renews is not live after a lease, and told to
    nobody who announces."""
    if not _has_leases(open_store):
        return
    async with _node(open_store, "first") as first, _node(open_store, "second") as second:
        await second.announce(_state(US))
        lease_seconds = first.lease_seconds
        assert lease_seconds is not None
        in_time = False
        while not in_time:  # again if a machine that stood still took a lease for the last step
            for _ in range(6):
                began = trio.current_time()
                found = await first.announce(_state(EU))
                await trio.sleep(lease_seconds / 4)
            nodes = await first.nodes()
            in_time = trio.current_time() - began < lease_seconds

        require_equal(list(found.values()), [_state(EU)], "states of live nodes")
        live = {node.owner.split(" ")[0]: node.live for node in nodes}
        require_equal(live, {"first": True, "second": False}, "which nodes are live")


@check
async def sessions_that_nobody_can_serve_are_told(open_store: OpenStore) -> None:
    """With leases: nodes and readers are told of sessions that need a worker and have none, while
    there is no live node that offers what they demand and does not drain."""
    if not _has_leases(open_store):
        return

    async def require_unserved(reader: NodesReader, *names: str) -> None:
        found = await reader.unserved(10)
        require_equal(_ids([*found]), list(names), "sessions that nobody can serve")

    async with _node(open_store, "first") as first, first.reading() as reader:
        await first.announce(_state(EU))
        await _leave(first, "eu", node_tags={"region": "eu"})
        await _leave(first, "us", node_tags={"region": "us"})
        await _leave(first, "idle", node_tags={"region": "us"}, runs={})
        await require_unserved(first, "us")
        found = [session.demands for session in await nodes_reader(reader).unserved(10)]
        require_equal(found, [words_of({"region": "us"}, ())], "demands that nobody meets")
        async with _node(open_store, "second") as second:
            await second.announce(_state(US))
            await require_unserved(first)
            await second.announce(_state(US, draining=True))
            await require_unserved(nodes_reader(reader), "us")
        await first.announce(_state(EU, draining=True))
        await require_unserved(first, "eu", "us")
        require_equal(len(await first.unserved(1)), 1, "sessions told of the one asked for")


@check
async def command_for_a_free_session_goes_to_a_node_that_can_serve_it(
    open_store: OpenStore,
) -> None:
    """With leases: hand_over brings a command for a session that nobody has to a live node that
    offers what session and command demand: to this one if it does or if no other can."""
    if not _has_leases(open_store):
        return
    tags = {"region": "us"}
    submit = Submit(run_id="r", input=None, size_bytes=1, agent="coder")
    async with _node(open_store, "eu") as eu, _node(open_store, "us") as us:
        await _leave(eu, "us", node_tags=tags)
        require_equal(await eu.hand_over("us", GetStatus()), "eu", "who answered, nobody known")
        await eu.announce(_state(EU))
        await us.announce(_state(US))
        for store, name, command, expected in (
            (eu, "us", GetStatus(), "us"),
            (us, "us", GetStatus(), "us"),
            (us, "new", submit, "eu"),
            (eu, "new", submit, "eu"),
            (eu, "new", OpenSession(node_tags=tags), "us"),
            (eu, "new", GetStatus(), "eu"),
            (us, "new", GetStatus(), "us"),
            (eu, "new", OpenSession(node_tags={"region": "mars"}), "eu"),
        ):
            answered = await store.hand_over(name, command)
            require_equal(answered, expected, f"who answered {command} for {name!r}")
        await us.announce(_state(US, draining=True))
        require_equal(await eu.hand_over("us", GetStatus()), "eu", "who answered, us draining")
        require_equal(await us.hand_over("new", GetStatus()), "eu", "who answered, us draining")


@check
async def hint_of_sessions_to_take_comes(open_store: OpenStore) -> None:
    """With leases: wait_unheld returns soon after another node has told of sessions to take, and
    after one has closed and left some."""
    if not _has_leases(open_store):
        return
    async with _node(open_store, "first") as first:
        async with _node(open_store, "second") as second:
            with trio.move_on_after(NEWS_SECONDS_MAX / 4):
                await first.wait_unheld()  # of what came before
            await second.tell_unheld()
            told = await comes_soon(first, first.wait_unheld)
            require(told, "wait_unheld did not return when it was told")
            author = await Author.of(second, "a")
            await author.write(note(1), info=facts("a", runs=QUEUED))
        closed = await comes_soon(first, first.wait_unheld)
        require(closed, "wait_unheld did not return when a node closed")
        require_equal(_ids([*await first.unheld(10)]), ["a"], "sessions that nobody has")


PLACING: tuple[Check, ...] = (
    sessions_that_nobody_has_are_told,
    node_is_offered_what_it_can_serve,
    nodes_know_each_other,
    holder_of_a_session_is_told,
    node_that_says_nothing_for_a_lease_is_gone,
    sessions_that_nobody_can_serve_are_told,
    command_for_a_free_session_goes_to_a_node_that_can_serve_it,
    hint_of_sessions_to_take_comes,
)
