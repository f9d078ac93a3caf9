"""The client has what the runtime has, but for what the table says."""

from __future__ import annotations

import inspect

import pytest
from moorage import runtime
from moorage.adapters.gateways import http_client
from moorage.adapters.gateways.http_client import NOT_OVER_HTTP

PAIRS = {
    "Session": (runtime.Session, http_client.Session),
    "Run": (runtime.Run, http_client.Run),
    "Supervisor": (runtime.Supervisor, http_client.Client),
    "Subscription": (runtime.Subscription, http_client.Subscription),
}


def members(kind):
    names = set(dir(kind)) | set(vars(kind).get("__slots__", ()))
    return {name for name in names if not name.startswith("_")}


def missing(name, own, ours):
    found = {f"{name}.{member}" for member in members(own) - members(ours)}
    for member in members(own) & members(ours):
        theirs, mine = getattr(own, member), getattr(ours, member)
        if inspect.isfunction(theirs):
            parameters = inspect.signature(theirs).parameters
            known = inspect.signature(mine).parameters
            found |= {f"{name}.{member}({one})" for one in parameters.keys() - known.keys()}
    return found


def test_the_table_says_what_is_missing_and_nothing_else():
    found = set().union(*(missing(name, *pair) for name, pair in PAIRS.items()))

    assert found == set(NOT_OVER_HTTP)
    assert all(NOT_OVER_HTTP.values())


@pytest.mark.parametrize("name", PAIRS)
def test_what_both_have_is_called_in_the_same_way(name):
    own, ours = PAIRS[name]
    for member in sorted(members(own) & members(ours)):
        theirs, mine = getattr(own, member), getattr(ours, member)
        assert isinstance(theirs, property) == isinstance(mine, property), member
        if not inspect.isfunction(theirs):
            continue
        given = {
            one: (parameter.kind, parameter.default)
            for one, parameter in inspect.signature(theirs).parameters.items()
            if f"{name}.{member}({one})" not in NOT_OVER_HTTP
        }
        taken = inspect.signature(mine).parameters.items()

        assert {one: (p.kind, p.default) for one, p in taken} == given, member


def test_the_client_adds_no_words_of_its_own():
    added = {
        f"{name}.{member}"
        for name, (own, ours) in PAIRS.items()
        for member in members(ours) - members(own)
    }

    assert added == {"Supervisor.url"}
