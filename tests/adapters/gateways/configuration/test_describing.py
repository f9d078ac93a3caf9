from __future__ import annotations

import math

import jsonschema
import pytest
from moorage.adapters.gateways.configuration.describing import (
    json_schema,
    settings_table,
    told_default,
    told_size,
)
from moorage.adapters.gateways.configuration.schema import Configuration
from moorage.adapters.gateways.configuration.settings import all_settings

from tests.rules.settings_table import written


def test_the_table_in_the_page_is_that_of_the_schema():
    assert settings_table() == written(), "python tests/rules/settings_table.py writes it"


def test_the_table_has_every_setting():
    rows = settings_table().splitlines()

    assert len(rows) == 2 + len(list(all_settings(Configuration)))
    assert all(row.count(" | ") == 3 for row in rows[2:])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, ""),
        ((), ""),
        ({}, ""),
        (True, "true"),
        (False, "false"),
        (10.0, "10"),
        (0.5, "0.5"),
        (math.inf, "no limit"),
        (1_000, "1000"),
        ("warning", "warning"),
    ],
)
def test_a_default_is_told_as_one_would_write_it(value, told):
    assert told_default(value) == told


def test_a_size_is_told_in_the_largest_unit_that_fits():
    assert [told_size(value) for value in (0, 1_000, 4_096, 3 * 2**20)] == [
        "0",
        "1000",
        "4KiB",
        "3MiB",
    ]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"gateway": {"bind": "127.0.0.1:80", "limits": {"streams_max": 5, "chunk_bytes": "1MiB"}}},
        {"agents": "echo"},
        {"agents": {"a": "echo", "b": {"agent": "claude", "options": {"model": "m"}}}},
        {"store": {"spec_file": "/run/secrets/store"}, "gateway": None},
        {"limits": {"runs_queued_max": "${N}", "idle_seconds": "5m"}, "telemetry": {}},
        {"retention": {"rules": [{"closed_for": "30d"}], "exempt_tags": ["a"]}},
    ],
)
def test_editors_accept_what_the_server_does(document):
    jsonschema.Draft202012Validator(json_schema()).validate(document)


@pytest.mark.parametrize(
    "document",
    [
        {"gatewy": {}},
        {"gateway": {"bindd": "x"}},
        {"gateway": {"limits": {"streams_max": 0}}},
        {"gateway": {"limits": {"streams_max": "many"}}},
        {"telemetry": {"otel": "yes"}},
        {"logging": {"level": "loud"}},
        {"agents": {"a": {"agnet": "x"}}},
        {"node_tags": {"a": 1}},
    ],
)
def test_editors_refuse_what_the_server_does(document):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(document)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(json_schema())
