from __future__ import annotations

import hashlib

import pytest
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.stores.redis.scripts import APPEND, SCRIPTS, SHAS, sha_of


def test_scripts_are_known_by_their_hash() -> None:
    assert SHAS.keys() == SCRIPTS.keys()
    assert sha_of("return 1") == hashlib.sha1(b"return 1").hexdigest()
    assert len(set(SHAS.values())) == len(SHAS)


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "open"])
def test_every_script_asks_first_whether_the_store_is_still_there(name: str) -> None:
    first = SCRIPTS[name].index("'id') ~= ARGV[1] then return {'lost'} end")
    others = [SCRIPTS[name].find(f"redis.call('{write}'") for write in ("HSET", "XADD", "DEL")]

    assert all(first < place for place in others if place >= 0)


@pytest.mark.parametrize("name", ["append", "save_snapshot", "trim", "delete"])
def test_every_write_of_a_claim_is_fenced(name: str) -> None:
    assert "if epoch ~= ARGV[2] then return {'stale'" in SCRIPTS[name]


def test_the_ends_of_runs_are_those_of_the_runtime() -> None:
    assert all(f"kind == '{type}'" in APPEND for type in RUN_TERMINAL_TYPES)
    assert APPEND.count("kind == 'run_") == len(RUN_TERMINAL_TYPES) + 1
