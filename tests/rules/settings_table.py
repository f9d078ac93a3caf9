"""The table of docs/configuration.md, made from the schema.

    python tests/rules/settings_table.py          # writes it into the page

It stands between a pair of marks; a test of the schema's description compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from moorage.adapters.gateways.configuration.describing import settings_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
MARKS = re.compile(r"(<!-- table: settings -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def written() -> str:
    """The table that the page has."""
    found = MARKS.search(PAGE.read_text("utf-8"))
    assert found is not None, f"{PAGE.name} has lost its marks"
    return found[2]


if __name__ == "__main__":
    page = MARKS.sub(lambda marks: marks[1] + settings_table() + marks[3], PAGE.read_text("utf-8"))
    PAGE.write_text(page, "utf-8")
