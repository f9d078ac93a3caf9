from __future__ import annotations

import pytest
from moorage.adapters.sinks.telemetry.span_attributes import (
    CONTENT_CHARS_MAX,
    NAME_CHARS_MAX,
    content,
    error_code,
    run_attributes,
    tool_attributes,
    usage_attributes,
)
from moorage.runtime import RunRequest, SessionClosed


class OddError(Exception):
    @property
    def code(self) -> str:
        raise RuntimeError


def request(**facts) -> RunRequest:
    return RunRequest(**{"input": "x", "session_id": "s", "run_id": "r"} | facts)


def test_a_run_names_its_agent_and_model_where_they_are_known() -> None:
    known = run_attributes(request(input={"model": "m" * 1_000}, agent="coder", attempt=2))

    assert known["gen_ai.agent.name"] == "coder"
    assert known["gen_ai.request.model"] == "m" * NAME_CHARS_MAX
    assert known["moorage.run.attempt"] == 2
    for input in ("x", {"model": 7}, {"model": ""}):
        assert (
            not {"gen_ai.agent.name", "gen_ai.request.model"}
            & run_attributes(request(input=input)).keys()
        )


def test_input_tokens_have_the_cached_ones_among_them() -> None:
    found = usage_attributes({"input_tokens": 1, "cache_write_tokens": 2, "cache_read_tokens": 4})

    assert found["gen_ai.usage.input_tokens"] == 7
    assert found["gen_ai.usage.cache_creation.input_tokens"] == 2
    assert usage_attributes({"output_tokens": True, "service": "x"}) == {}


def test_a_tool_call_without_a_name_has_one() -> None:
    found = tool_attributes(request(), {"tool_call_id": 5})

    assert found["gen_ai.tool.name"] == "unknown"
    assert found["gen_ai.tool.call.id"] == "5"


def test_content_is_bounded_json() -> None:
    assert content({"a": [b"xyz", "é"]}) == '{"a": ["(3 bytes)", "é"]}'
    assert content({1, 2}) == '"(set)"'
    assert len(content("x" * 100_000)) == CONTENT_CHARS_MAX


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SessionClosed("s"), SessionClosed.code),
        (ValueError("x"), "agent_failed"),
        (OddError(), "agent_failed"),
        (SystemExit(3), "agent_exited"),
    ],
)
def test_errors_have_the_code_that_the_outcome_has(error, code) -> None:
    assert error_code(error) == code
