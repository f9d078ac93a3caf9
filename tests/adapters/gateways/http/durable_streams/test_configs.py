from __future__ import annotations

import attrs
import pytest
from moorage.adapters.gateways.http.durable_streams.configs import (
    CONFIG,
    FORK,
    StreamConfig,
    config_of,
    forks_of,
)
from moorage.runtime import SessionInfo, SessionState

INFO = SessionInfo("s", SessionState.OPEN, {}, {}, 1, 1, 1, {})


def with_metadata(**metadata):
    return attrs.evolve(INFO, metadata=metadata)


def test_a_config_comes_back_from_metadata_as_it_was():
    config = StreamConfig(content_type="a/b", ttl_seconds=5, forked_from="x", fork_position=7)

    assert config_of(with_metadata(**{CONFIG: config.data()})) == config


def test_what_a_later_release_adds_is_ignored():
    data = {"content_type": "a/b", "colour": "red"}

    assert config_of(with_metadata(**{CONFIG: data})) == StreamConfig(content_type="a/b")


@pytest.mark.parametrize(
    "data",
    [
        None,
        "x",
        {},
        {"content_type": 1},
        {"content_type": "x\u20ac/y"},
        {"content_type": "a/b\r\nset-cookie: x"},
        {"content_type": "nothing"},
        {"content_type": "a/b", "ttl_seconds": "1"},
        {"content_type": "a/b", "ttl_seconds": -1},
        {"content_type": "a/b", "ttl_seconds": True},
        {"content_type": "a/b", "ttl_seconds": 10**400},
        {"content_type": "a/b", "expires_at": "\u20ac"},
        {"content_type": "a/b", "expires_at_ns": 10**400},
        {"content_type": "a/b", "fork_position": -1},
        {"content_type": "a/b", "forked_from": 1},
        {"content_type": "a/b", "fork_sub_offset": None},
    ],
)
def test_what_somebody_else_has_written_makes_no_stream(data):
    assert config_of(with_metadata(**{CONFIG: data})) is None


def test_forks_are_entries_of_the_metadata():
    assert forks_of(with_metadata(**{FORK + "a": 1, FORK + "b.c": 2, "d": 3})) == ["a", "b.c"]
