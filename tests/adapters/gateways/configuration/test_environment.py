from __future__ import annotations

from moorage.adapters.gateways.configuration.environment import (
    path_of,
    read_environment,
    variable_of,
)
from moorage.adapters.gateways.configuration.given import plain


def read(**environ):
    problems = []
    return read_environment(environ, problems), problems


def test_a_double_underscore_makes_a_path():
    tree, problems = read(
        MOORAGE_GATEWAY__BIND="[::1]:80",
        MOORAGE_GATEWAY__LIMITS__STREAMS_MAX="5",
        MOORAGE_NODE_TAGS__REGION="eu",
        OTHER__THING="1",
    )

    assert plain(tree) == {
        "gateway": {"bind": "[::1]:80", "limits": {"streams_max": "5"}},
        "node_tags": {"region": "eu"},
    }
    assert not problems
    bind = tree.entries["gateway"].entries["bind"]
    assert (bind.source.name, bind.is_text) == ("MOORAGE_GATEWAY__BIND", True)


def test_variables_with_one_word_are_left_alone_but_for_those_that_always_were():
    tree, problems = read(
        MOORAGE_SERVICE_HOST="10.0.0.1",
        MOORAGE_PORT="tcp://10.0.0.1:8040",
        MOORAGE_AGENT="echo",
        MOORAGE_STORE="sqlite:a.db",
        MOORAGE_KEYS="k.json",
    )

    assert plain(tree) == {"agents": "echo", "store": {"spec": "sqlite:a.db", "keys": "k.json"}}
    assert not problems


def test_a_directory_of_data_is_a_journal():
    tree, _ = read(MOORAGE_DATA="a:b")

    assert plain(tree) == {"store": {"spec": "journal:a:b"}}
    assert plain(tree, shown=True) == {"store": {"spec": "a:b"}}


def test_what_is_empty_gives_nothing():
    assert plain(read(MOORAGE_STORE="", MOORAGE_GATEWAY__BIND="")[0]) == {}


def test_two_variables_for_one_setting_are_told_apart_by_the_user():
    _, problems = read(MOORAGE_DATA="a", MOORAGE_STORE="sqlite:b")
    _, spelled = read(MOORAGE_STORE="sqlite:b", MOORAGE_STORE__SPEC="sqlite:c")
    _, both = read(MOORAGE_AGENT="echo", MOORAGE_AGENTS__A__AGENT="echo")

    assert [str(problem) for problem in problems] == [
        "MOORAGE_STORE: store.spec: MOORAGE_DATA is set too: unset one"
    ]
    assert len(spelled) == 1
    assert "another variable gives a part of it" in str(both[0])


def test_a_name_that_is_missing_is_told():
    _, problems = read(MOORAGE_GATEWAY____BIND="x")

    assert "a name is missing" in str(problems[0])


def test_names_go_both_ways():
    assert path_of(variable_of(("gateway", "limits", "streams_max"))) == (
        "gateway",
        "limits",
        "streams_max",
    )
    assert path_of("PATH") is None
