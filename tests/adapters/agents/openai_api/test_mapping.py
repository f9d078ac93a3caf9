from __future__ import annotations

import subprocess
import sys
from typing import get_args

from moorage.adapters.agents.openai_api.mapping import EVENT_TABLE, seconds_as_ns
from moorage.runtime.events import AGENT_TYPES
from openai.types.responses import ResponseStreamEvent


def test_the_table_leads_to_types_of_ours_only() -> None:
    assert {type for types in EVENT_TABLE.values() for type in types} <= AGENT_TYPES


def test_every_kind_of_the_table_is_one_that_the_sdk_knows() -> None:
    union = get_args(ResponseStreamEvent)[0]
    known = {
        kind
        for event in get_args(union)
        for kind in get_args(event.model_fields["type"].annotation)
    }

    ours = {kind for kind in EVENT_TABLE if not kind.startswith("chat.")} - {"*"}

    assert ours <= known


def test_times_come_in_nanoseconds() -> None:
    assert seconds_as_ns(1_800_000_000) == 1_800_000_000_000_000_000
    assert [seconds_as_ns(bad) for bad in (None, "1", -5, float("nan"), 1e30)] == [None] * 5


def test_without_the_sdk_the_table_can_be_read_and_the_agent_says_what_it_needs() -> None:
    program = """
import sys
sys.modules["openai"] = None
from moorage.adapters.agents.openai_api.mapping import EVENT_TABLE
print(len(EVENT_TABLE))
from moorage.adapters.agents.openai_api import OpenAIAgent
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.stdout.strip() == str(len(EVENT_TABLE))
    assert "OpenAIAgent needs pip install 'moorage[openai]'" in ended.stderr
