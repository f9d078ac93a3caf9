"""What the schemas say is what the runtime does."""

from __future__ import annotations

import inspect

import attrs
import pytest
from moorage.adapters.gateways.http import schemas
from moorage.adapters.gateways.http.schemas import COMPONENTS
from moorage.runtime import (
    Branch,
    Checkpoint,
    DrainReport,
    Event,
    Label,
    RunOutcome,
    RunProblem,
    RunSummary,
    Session,
    SessionInfo,
    SessionStatus,
    SteerOutcome,
    UsageRow,
    UsageSummary,
    arguments,
    handles,
    query_arguments,
)
from moorage.runtime.placement import NodeInfo, NodeState, SessionHolder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Session", SessionInfo),
        ("SessionStatus", SessionStatus),
        ("RunOutcome", RunOutcome),
        ("RunProblem", RunProblem),
        ("RunSummary", RunSummary),
        ("UsageRow", UsageRow),
        ("UsageSummary", UsageSummary),
        ("Node", NodeInfo),
        ("NodeState", NodeState),
        ("SessionHolder", SessionHolder),
        ("SteerOutcome", SteerOutcome),
        ("Event", Event),
        ("Label", Label),
        ("Checkpoint", Checkpoint),
        ("Branch", Branch),
        ("DrainReport", DrainReport),
    ],
)
def test_a_schema_has_the_fields_of_the_value_it_stands_for(name, kind):
    assert [field.name for field in attrs.fields(kind)] == list(COMPONENTS[name]["properties"])


def test_a_run_takes_the_options_of_submit():
    options = set(inspect.signature(Session.submit).parameters) - {"self", "input", "key"}

    assert options == set(schemas.RUN_OPTIONS)


@pytest.mark.parametrize("name", ["PAGE_EVENTS_MAX", "SLOTS_MAX", "TAGS_MAX", "SUMMARY_BYTES_MAX"])
def test_limits_are_those_of_the_runtime(name):
    assert getattr(arguments, name) == getattr(schemas, name)
    assert handles.RUN_ATTEMPTS_MAX == schemas.RUN_ATTEMPTS_MAX


@pytest.mark.parametrize("name", ["PAGE_ITEMS_MAX", "TEXT_BYTES_MAX"])
def test_limits_of_searches_are_those_of_the_runtime(name):
    assert getattr(query_arguments, name) == getattr(schemas, name)


def test_what_may_be_nothing_says_so():
    assert schemas.nullable({"type": "string"}) == {"type": ["string", "null"]}
    assert schemas.nullable({"$ref": "x"}) == {"oneOf": [{"$ref": "x"}, {"type": "null"}]}
