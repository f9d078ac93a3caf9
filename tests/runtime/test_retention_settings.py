from __future__ import annotations

import tomllib
from typing import Any

import pytest
from moorage.runtime import InvalidArgument, RetentionPolicy, RetentionRule
from moorage.runtime import retention_settings as settings
from moorage.runtime.retention_settings import bytes_from, policy_from, seconds_from

EXAMPLE = """
exempt_tags = ["legal-hold", "tier=gold"]
purge_after = "7d"

[[rules]]
action = "soft_delete"
states = ["closed"]
closed_for = "30d"

[[rules]]
name = "size"
prefix = "job-"
tags = { tenant = "x" }
bytes_max = "2GiB"
older_than_seconds = 60

[[rules]]
action = "trim"
events_older_than = "90m"
events_keep_last = 100
"""


def test_a_file_says_what_a_program_would() -> None:
    policy = policy_from(tomllib.loads(EXAMPLE))

    assert policy == RetentionPolicy(
        exempt_tags=["legal-hold", "tier=gold"],
        purge_after_seconds=7 * 86_400.0,
        rules=[
            RetentionRule(
                action="soft_delete", states=["closed"], closed_for_seconds=30 * 86_400.0
            ),
            RetentionRule(
                name="size",
                prefix="job-",
                tags={"tenant": "x"},
                bytes_max=2 * 2**30,
                older_than_seconds=60,
            ),
            RetentionRule(action="trim", events_older_than_seconds=5_400.0, events_keep_last=100),
        ],
    )


def test_the_modules_own_example_is_one() -> None:
    text = (settings.__doc__ or "").partition("::\n")[2].partition("The names")[0]
    lines = [line.strip() for line in text.splitlines()]

    assert policy_from(tomllib.loads("\n".join(lines))).purge_after_seconds == 7 * 86_400


def test_nothing_is_a_policy_too() -> None:
    assert policy_from({}) == RetentionPolicy()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), (90, 90), (1.5, 1.5), ("45s", 45), ("1.5 h", 5_400), ("2w", 1_209_600)],
)
def test_spans_of_time_have_units(text: Any, seconds: float) -> None:
    assert seconds_from(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), (7, 7), ("1kB", 1_000), ("1.5 MiB", 1_572_864), ("3TB", 3e12)]
)
def test_sizes_have_units(text: Any, size: float) -> None:
    assert bytes_from(text) == size
    assert type(bytes_from(text)) is int


@pytest.mark.parametrize("text", ["", "d", "-1d", "1y", "30 d d", -1, None, True, [], "9" * 30])
def test_what_is_no_span_is_refused(text: Any) -> None:
    with pytest.raises(InvalidArgument, match="older_than must be a number of seconds, or a text"):
        seconds_from(text, "older_than")


@pytest.mark.parametrize("text", ["", "GB", "1d", "1 gb", -1, None])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(InvalidArgument, match="500MB"):
        bytes_from(text)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "the policy must be a map"),
        ({"rule": []}, "the policy has no 'rule'"),
        ({"rules": {}}, "rules must be a list"),
        ({"rules": [1]}, "rule 1 must be a map"),
        ({"rules": [{"keep_newest": 1}, {"keep": 1}]}, "rule 2 has no 'keep'"),
        ({"rules": [{"older_than": "x"}]}, "rule 1: older_than must be"),
        ({"rules": [{"older_than": 1, "older_than_seconds": 1}]}, "twice"),
        ({"rules": [{"bytes_max": "x"}]}, "rule 1: bytes_max must be"),
        ({"rules": [{"keep_newest": 1, "tags": {"a": 1}}]}, "rule 1: tags must be"),
        ({"rules": [{"keep_newest": 1, "tags": []}]}, "rule 1: tags must be"),
        ({"rules": [{"keep_newest": 1, "states": "open"}]}, "states must be a list"),
        ({"rules": [{"keep_newest": 1, "prefix": 5}]}, "prefix must be a text"),
        ({"rules": [{"states": ["closed"]}]}, "rule 1: a rule that deletes needs"),
        ({"exempt_tags": [1]}, "exempt_tags must be a list"),
        ({"on_expiry": "x"}, "on_expiry must be one of"),
    ],
)
def test_mistakes_are_named(data: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        policy_from(data)
