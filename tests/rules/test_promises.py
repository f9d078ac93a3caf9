"""Each numbered promise of the README has a test that names it and a mutation that breaks it."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.acceptance.mutation_table import Mutation, load_mutations
from tests.rules.source_tree import ROOT, source_files

PROMISES = range(1, 19)


@cache
def promises_of_tests() -> dict[int, list[str]]:
    """Promise -> tests marked ``@pytest.mark.promise(number)``, wherever it is attached."""
    found: dict[int, list[str]] = {number: [] for number in PROMISES}
    for file in source_files("tests"):
        if "promise" not in file.text:
            continue
        for node in ast.walk(file.tree):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise"):
                continue
            for argument in node.args:
                found[ast.literal_eval(argument)].append(f"{file.name}:{node.lineno}")
    return found


@pytest.mark.parametrize("number", PROMISES)
def test_a_test_names_the_promise(number: int) -> None:
    assert promises_of_tests()[number], (
        f"no test shows promise {number}: write one and mark it @pytest.mark.promise({number})"
    )


@pytest.mark.parametrize("number", PROMISES)
def test_a_mutation_breaks_the_promise(number: int) -> None:
    listed = [mutation for mutation in load_mutations() if mutation.promise == number]

    assert listed, (
        f"no mutation breaks promise {number}: add one to tests/acceptance/mutations.toml, "
        "with the test that catches it"
    )


def test_the_readme_states_the_promises_by_number() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    missing = [n for n in PROMISES if not re.search(rf"^{n}\. \*\*", readme, re.MULTILINE)]

    assert not missing, f"write in README.md, under Guarantees: {missing[0]}. **Title.** Text"


@pytest.mark.parametrize("mutation", load_mutations(), ids=lambda mutation: mutation.name)
def test_a_listed_mutation_still_fits_the_code(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")

    count = text.count(mutation.old)

    assert count == 1, (
        f"{mutation.file} has the old text {count} times: write in mutations.toml what stands "
        "there now, with enough around it to be unique"
    )
    assert mutation.old != mutation.new
    for test in mutation.tests:
        name = test.partition("::")[0]
        assert (ROOT / name).exists(), f"{name} is gone: name the test that catches it now"
