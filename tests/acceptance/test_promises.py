"""The README's guarantees, each by its number, on the stores for which it is given.

- ``test_promises_runs.py``: what is accepted, and when it runs (1, 2, 3, 4, 11)
- ``test_promises_endings.py``: awaiting, cancelling, draining, crashing (5, 6, 13, 14)
- ``test_promises_events.py``: what subscribers see (7, 8, 9, 10)
- ``test_promises_resources.py``: directories, disks, memory, threads, processes (12, 15 to 18)

``open_store`` is each store in turn, ``durable`` each that outlives a crash (``durable_stores.py``
says what a crash is); docs/stores.md says which guarantee is shown on which. Tests with threads use
the real clock and wait for events instead of time: they do not mix with time that passes by itself.
"""

from __future__ import annotations

import ast
import re

from tests.rules.source_tree import functions, source_files

PROMISES = set(range(1, 19))


def names_and_marks():
    """(name, promises it is marked with) of each test in the modules above."""
    return [
        (function.name, marks_of(function))
        for file in source_files("tests/acceptance")
        if file.name.startswith("tests/acceptance/test_promises_")
        for function in functions(file)
        if function.name.startswith("test_")
    ]


def marks_of(function):
    return [
        ast.literal_eval(decorator.args[0])
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.promise"
    ]


def test_every_promise_has_a_test_that_names_it():
    marked = {promise for _, marks in names_and_marks() for promise in marks}

    assert marked == PROMISES


def test_every_test_has_its_promise_in_its_name_and_as_its_mark():
    wrong = [
        name
        for name, marks in names_and_marks()
        if not (named := re.match(r"test_(\d+)_", name)) or marks != [int(named[1])]
    ]

    assert wrong == []
