"""The tables of docs/agents.md, made from the code's own.

    python tests/rules/agent_tables.py            # writes them into the page

Between a pair of marks in the page stands what the function of that name makes; a test compares.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "agents.md"
FOLDER = ROOT / "adapters" / "agents"
MARKS = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def literal(path: Path, name: str) -> dict[str, object]:
    """A table at the top of a module, without importing it: its extra need not be installed."""
    tables: dict[str, object] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and value is not None:
            tables[target.id] = _value(value, tables)
    found = tables[name]
    assert isinstance(found, dict), f"{path.name}: {name} is no literal table"
    return found


def _value(node: ast.expr, names: dict[str, object]) -> object:
    """What a literal says; a name in it stands for an earlier table of the module."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Dict):
        made: dict[object, object] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                more = _value(value, names)
                assert isinstance(more, dict)
                made |= more
            else:
                made[_value(key, names)] = _value(value, names)
        return made
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_value(item, names) for item in node.elts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return {**_map(_value(node.left, names)), **_map(_value(node.right, names))}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def permissions() -> str:
    """Permission modes by provider."""
    table = literal(FOLDER / "provider" / "permissions.py", "PERMISSION_TABLE")
    modes = list(table)
    providers = list(_map(table[modes[0]]))
    lines = [_row("", *(f"`{mode}`" for mode in modes)), _row(*["---"] * (len(modes) + 1))]
    for provider in providers:
        cells = [_settings(_map(_map(table[mode])[provider])) for mode in modes]
        lines.append(_row(provider, *cells))
    return "\n".join(lines) + "\n"


def events() -> str:
    """What each provider's stream becomes."""
    parts = []
    for path in sorted(FOLDER.glob("*/mapping.py")):
        table = literal(path, "EVENT_TABLE")
        lines = [f"**{path.parent.name}**", "", _row("It says", "We record"), _row("---", "---")]
        for kind, types in table.items():
            assert isinstance(types, tuple)
            recorded = ", ".join(f"`{type}`" for type in types) or "nothing: said elsewhere"
            lines.append(_row(f"`{kind}`", recorded))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _map(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def _settings(settings: dict[str, object]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in settings.items())


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


TABLES = {"permissions": permissions, "events": events}


def filled(page: str) -> str:
    """The page with its tables as the code has them now."""
    return MARKS.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", page)


def main() -> int:
    """Write the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
