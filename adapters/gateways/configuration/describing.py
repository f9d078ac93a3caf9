"""The settings described: as rows for a page, and as JSON Schema for editors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .schema import Configuration
from .settings import FILE_SUFFIX, Named, Setting, all_settings, parts_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def settings_table() -> str:
    """All settings as a table of Markdown, in the order of the schema."""
    rows = ["| Setting | What it takes | Default | |", "|---|---|---|---|"]
    for path, setting, default in all_settings(Configuration):
        takes, _, _ = setting.kind.expected.partition(", or a text")
        told = told_size(default) if takes.startswith("bytes") else told_default(default)
        cells = (f"`{path}`", takes, told, setting.doc)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def told_default(value: Any) -> str:
    """A default as a person writes it; nothing for one that is empty."""
    if value is None or value in ((), [], {}, ""):
        return ""
    if value == math.inf:
        return "no limit"
    if type(value) is bool:
        return "true" if value else "false"
    return f"{value:g}" if type(value) is float else str(value)


def told_size(value: int) -> str:
    """A number of bytes in the largest unit that it is a multiple of."""
    for factor, unit in ((2**20, "MiB"), (2**10, "KiB")):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def json_schema() -> dict[str, Any]:
    """What editors check a file with. Anywhere a text may stand that ``${NAME}`` is part of."""
    return {
        "$schema": DIALECT,
        "title": "Moorage: settings of a server",
        **_section(Configuration),
    }


def _section(kind: type[Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    defaults = {path: value for path, _, value in all_settings(kind)}
    for name, part in parts_of(kind).items():
        if isinstance(part, Setting):
            properties[name] = _leaf(part, defaults[name])
            if part.is_secret:
                told = f"The file that has {name} in it."
                properties[name + FILE_SUFFIX] = {"type": "string", "description": told}
        elif isinstance(part, Named):
            inner = {"anyOf": [{"type": "string"}, _section(part.section)]}
            properties[name] = {
                "description": part.doc,
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "additionalProperties": inner},
                ],
            }
        else:
            properties[name] = {"anyOf": [_section(part), {"type": "null"}]}
    doc = " ".join((kind.__doc__ or "").split())
    return {
        "type": "object",
        "description": doc,
        "additionalProperties": False,
        "properties": properties,
    }


def _leaf(setting: Setting, default: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"description": setting.doc}
    if default not in (None, (), {}, ""):
        described["default"] = str(default) if isinstance(default, Path) else default
    forms = [dict(setting.kind.schema), {"type": "null"}]
    if setting.kind.schema.get("type") != "string" and not setting.kind.is_map:
        forms.append({"type": "string", "pattern": r"\$\{"})
    return {**described, "anyOf": forms}
