"""What the rules look at: every Python file of the repository."""

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

    @property
    def tree(self) -> ast.Module:
        """Parsed anew each time: all of them together take 300 MB, which would slow down the
        garbage collector for every test that follows."""
        return ast.parse(self.text, self.name)

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
        SourceFile(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in found
    )


def functions(file: SourceFile) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, nested ones included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(file.tree) if isinstance(node, kinds)]
