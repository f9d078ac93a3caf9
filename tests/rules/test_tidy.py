"""House style, as far as a program can see it. Each message says what to do."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.rules.source_tree import AROUND, PRODUCT, ROOT, SourceFile, functions, source_files

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400
LINE_CHARACTERS_MAX = 100

VAGUE_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"})
LEFT_OVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(wo" + r"rk|fa" + r"rm|ro" + r"ot|ho" + r"me)/\w")

GLANCE_LINES_MAX = 10
"""Something private to a module and no longer than this explains itself."""
SENTENCE_WORDS_MIN = 5

REAL_TIME = {
    "tests/acceptance/kill_loop.py": "kills real processes at random moments of real time",
}
"""Tests that sleep, and why."""

MIRROR_EXCEPTIONS = {
    "runtime/ports.py": "declares protocols only; stores/conformance checks them",
    "runtime/stored.py": "declares values only, which every store is tested with",
}
"""Product modules without a mirror test, and why."""

TEXT_FILES = (
    "*.md",
    "*.toml",
    "*.txt",
    "Makefile",
    ".ci/*",
    "docs/**/*.md",
    "docs/**/*.svg",
    "tests/acceptance/*.toml",
)

every_file = pytest.mark.parametrize(
    "file", source_files(*PRODUCT, *AROUND), ids=lambda file: file.name
)
product_file = pytest.mark.parametrize("file", source_files(*PRODUCT), ids=lambda file: file.name)


def report(found: list[str], remedy: str) -> None:
    assert not found, "\n".join([*found, remedy])


@product_file
def test_functions_are_short_enough_to_read_at_once(file: SourceFile) -> None:
    found = [
        f"{file.name}:{node.lineno} {node.name} has {length} lines"
        for node in functions(file)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]

    report(found, f"split it along its steps: {FUNCTION_LINES_MAX} lines are the limit, 40 the aim")


@product_file
def test_modules_are_about_one_thing(file: SourceFile) -> None:
    found = [f"{file.name} has {len(file.lines)} lines"] * (len(file.lines) > MODULE_LINES_MAX)

    report(found, f"split it by question: {MODULE_LINES_MAX} lines are the limit, 250 the aim")


@every_file
def test_lines_fit_the_page(file: SourceFile) -> None:
    found = [
        f"{file.name}:{number} has {len(line)} characters"
        for number, line in enumerate(file.lines, 1)
        if len(line) > LINE_CHARACTERS_MAX
    ]

    report(found, f"break it: {LINE_CHARACTERS_MAX} characters are the limit")


@every_file
def test_nothing_is_left_over(file: SourceFile) -> None:
    found = [
        f"{file.name}:{number} {line.strip()[:60]}"
        for number, line in enumerate(file.lines, 1)
        if LEFT_OVER.search(line)
    ]

    report(found, "do it now, or write down in the README what is not guaranteed")


@every_file
def test_modules_are_named_for_what_they_hold(file: SourceFile) -> None:
    vague = VAGUE_NAMES.intersection(Path(file.name).with_suffix("").parts)

    report([f"{file.name}: {word}" for word in vague], "name it for the things inside")


@product_file
def test_what_is_public_or_long_has_a_docstring(file: SourceFile) -> None:
    found = [
        f"{file.name}:{node.lineno} {node.name}"
        for node in file.tree.body
        if isinstance(node, Definition) and needs_docstring(file, node)
        if not ast.get_docstring(node)
    ]
    if not ast.get_docstring(file.tree):
        found.append(f"{file.name}:1 the module itself")

    report(found, "say what it returns or stands for, with units, and which errors it raises")


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def needs_docstring(file: SourceFile, node: Definition) -> bool:
    """Whether users import it from a package, or it is more than a glance long.

    Errors are explained by the tree in their module's docstring, and a check of a conformance
    suite has a sentence for a name.
    """
    if node.name.startswith("_") or file.name == "runtime/errors.py":
        return False
    length = (node.end_lineno or 0) - node.lineno + 1
    is_sentence = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
        node.name.count("_") >= SENTENCE_WORDS_MIN - 1
    )
    return node.name in public_names() or (length > GLANCE_LINES_MAX and not is_sentence)


@cache
def public_names() -> frozenset[str]:
    """Everything that some package of the product lists in __all__."""
    return frozenset(
        name
        for file in source_files(*PRODUCT)
        for node in file.tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    )


@product_file
def test_only_gateways_and_child_programs_print(file: SourceFile) -> None:
    if file.name.startswith(("adapters/gateways/", "adapters/agents/watcher_program.py")):
        return
    if "print" not in file.text:
        return
    found = [
        f"{file.name}:{node.lineno} print"
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]

    report(found, "a library does not print: log with structlog, or return it")


@pytest.mark.parametrize("file", source_files("tests"), ids=lambda file: file.name)
def test_tests_neither_sleep_nor_mock(file: SourceFile) -> None:
    if file.name in REAL_TIME or not re.search("sleep|mock", file.text):
        return
    # by syntax, not by text: programs that tests hand to child processes may sleep
    found = [
        f"{file.name}:{node.lineno} {ast.unparse(node)[:60]}"
        for node in ast.walk(file.tree)
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep"))
        or (isinstance(node, ast.ImportFrom | ast.Import) and "mock" in ast.unparse(node))
    ]

    report(found, "use trio's virtual clock or wait for the condition; write a named fake")


def test_no_file_names_a_path_of_one_machine() -> None:
    texts = {file.name: file.text for file in source_files(*PRODUCT, *AROUND)}
    for pattern in TEXT_FILES:
        for path in ROOT.glob(pattern):
            texts[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")

    found = [
        f"{name}:{number} {line.strip()[:80]}"
        for name, text in sorted(texts.items())
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]

    report(found, "use a path relative to the file, or a temporary directory")


def mirror_of(name: str) -> str:
    folder, _, module = name.rpartition("/")
    return f"tests/{folder}/test_{module}"


def test_every_module_has_its_test_at_the_mirrored_place() -> None:
    found = [
        f"{file.name} is not tested by {mirror_of(file.name)}"
        for file in source_files(*PRODUCT)
        if not file.name.endswith("/__init__.py")
        and file.name not in MIRROR_EXCEPTIONS
        and not (ROOT / mirror_of(file.name)).exists()
    ]

    report(found, "write that file; MIRROR_EXCEPTIONS takes a module only with a reason")


def test_every_mirror_exception_is_still_needed() -> None:
    found = [
        f"{name}: {'its test exists' if (ROOT / name).exists() else 'it is gone'}"
        for name in MIRROR_EXCEPTIONS
        if not (ROOT / name).exists() or (ROOT / mirror_of(name)).exists()
    ]

    report(found, "take it out of MIRROR_EXCEPTIONS")


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()

    found = [
        line
        for line in lines
        if not re.fullmatch(r"#.*|[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*", line)
    ]

    report(found, "write name==version: no address, no hash, no range")
