"""The documented tables of agents are those of the code."""

from __future__ import annotations

import re

from moorage.runtime.events import AGENT_TYPES

from tests.rules.agent_tables import FOLDER, MARKS, PAGE, TABLES, filled, literal

OWN_TYPES = {"claude_transcript"}
"""What Claude Code keeps of itself, line by line; nobody else reads it."""


def test_the_page_has_the_tables_as_the_code_has_them() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert {found[1] for found in MARKS.findall(page)} == set(TABLES)
    assert page == filled(page), "python tests/rules/agent_tables.py writes them"


def test_every_provider_maps_to_the_vocabulary() -> None:
    for path in FOLDER.glob("*/mapping.py"):
        for kind, types in literal(path, "EVENT_TABLE").items():
            assert isinstance(types, tuple), f"{path.parent.name}: {kind}"
            unknown = set(types) - AGENT_TYPES - OWN_TYPES
            assert not unknown, f"{path.parent.name}: {kind}: {unknown}"


def test_the_page_says_what_is_in_every_event_that_a_provider_is_mapped_to() -> None:
    described = set(
        re.findall(r"^\| `(\w+)` \| `\w+`[,:? ]", PAGE.read_text("utf-8"), re.MULTILINE)
    )
    mapped = {
        type
        for path in FOLDER.glob("*/mapping.py")
        for types in literal(path, "EVENT_TABLE").values()
        if isinstance(types, tuple)
        for type in types
    }

    assert mapped - OWN_TYPES - described == set()
