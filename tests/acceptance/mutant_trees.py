"""Trees of files to break the code in: each looks like an installed moorage beside its tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("runtime", "stores", "adapters")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")


def copy_tree(target: Path) -> None:
    """The repository's packages, tests, and what those read, below ``target``."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, target / "packages" / "moorage" / package, ignore=IGNORED)
    shutil.copytree(ROOT / "tests", target / "tests", ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, target / name)
    _link_packages(target)


def link_tree(unbroken: Path, target: Path) -> None:
    """The same tree again, with the bytecode that is there by now. The two share their files: one
    that shall differ has to be replaced, see ``replace_text``."""
    for directory, _, files in os.walk(unbroken):
        copy = target / Path(directory).relative_to(unbroken)
        copy.mkdir(exist_ok=True)
        for name in files:
            os.link(os.path.join(directory, name), copy / name)
    _link_packages(target)


def _link_packages(target: Path) -> None:
    # tests and rules that look at the source by path find the mutant too
    for package in PACKAGES:
        (target / package).symlink_to(target / "packages" / "moorage" / package)


def replace_text(file: Path, text: str) -> None:
    """Another file in place of this one, without bytecode that could be taken for its own."""
    for bytecode in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        bytecode.unlink()
    file = file.resolve()
    file.unlink()
    file.write_text(text, encoding="utf-8")
