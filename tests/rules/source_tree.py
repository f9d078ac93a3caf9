"""What the rules look at: every Python file of the repository, parsed once."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("runtime", "stores", "adapters")
AROUND = ("tests", "benchmarks", "examples")


@attrs.frozen
class SourceFile:
    """``name`` is the path from the root, with slashes; ``module`` the name it is imported by."""

    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def module(self) -> str:
        parts = self.name.removesuffix(".py").removesuffix("/__init__").split("/")
        return ".".join(["moorage", *parts])


@cache
def source_files(*folders: str) -> tuple[SourceFile, ...]:
    """The Python files below these folders of the repository, sorted by name."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert found, f"no Python files below {folders}"
    return tuple(
        SourceFile(path.relative_to(ROOT).as_posix(), text, ast.parse(text, str(path)))
        for path in found
        for text in [path.read_text(encoding="utf-8")]
    )


def functions(file: SourceFile) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, nested ones included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(file.tree) if isinstance(node, kinds)]
