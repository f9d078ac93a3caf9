"""Break the code in every listed way, one at a time: a named test must fail each time.

Every mutant is a copy of the packages in a directory of its own, which stands first on the
import path; the tests run from the repository's own tests directory, copied along. The child checks
that it really imported the mutant. A mutant that hangs is killed and counts as caught.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.acceptance.mutation_table import Mutation, load_mutations  # noqa: E402

PACKAGES = ("runtime", "stores", "adapters")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")

# The editable install answers for moorage before sys.path is asked: its finder has to go.
CHILD = """
import sys
from pathlib import Path

sys.meta_path[:] = [
    finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")
]
for name in [name for name in sys.modules if name.partition(".")[0] == "moorage"]:
    del sys.modules[name]
tree = Path(sys.argv[1])
sys.path[:0] = [str(tree / "packages"), str(tree)]
import moorage.runtime

assert Path(moorage.runtime.__file__).is_relative_to(tree), moorage.runtime.__file__
import pytest

sys.exit(pytest.main(["-q", "-x", "--no-header", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""

TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed; higher ones mean that they could not run."""
UNBROKEN_TIMES = 20
"""So many times what a mutant gets: the tests of all of them, and too little would be a failure."""


@attrs.frozen
class Verdict:
    """What became of one mutant. ``caught`` is what is wanted."""

    name: str
    promise: int
    caught: bool
    seconds: float
    how: str
    output: str = ""


def copy_tree(target: Path) -> None:
    """A tree that looks like an installed moorage beside the project's tests."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, target / "packages" / "moorage" / package, ignore=IGNORED)
        # tests and rules that look at the source by path find the mutant too
        (target / package).symlink_to(target / "packages" / "moorage" / package)
    shutil.copytree(ROOT / "tests", target / "tests", ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, target / name)


def run_tests(target: Path, tests: list[str], seconds_max: float) -> tuple[int | None, str]:
    """pytest's exit code and output; None as code if it had to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(target), *tests],
        cwd=target,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(target / "packages")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds_max)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output
    return process.returncode, output


def judge(mutation: Mutation, seconds_max: float) -> Verdict:
    """Make the mutant and run its tests."""
    begin = time.monotonic()

    def verdict(caught: bool, how: str, output: str = "") -> Verdict:
        seconds = time.monotonic() - begin
        return Verdict(mutation.name, mutation.promise, caught, seconds, how, output)

    with tempfile.TemporaryDirectory(prefix="moorage-mutant-") as directory:
        target = Path(directory).resolve()
        copy_tree(target)
        mutated = target / mutation.file
        text = mutated.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            return verdict(False, f"old text stands {text.count(mutation.old)} times in the file")
        mutated.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        code, output = run_tests(target, mutation.tests, seconds_max)
    if code is None:
        return verdict(True, f"killed after {seconds_max:.0f} s")
    if code == TESTS_FAILED:
        return verdict(True, failed_test(output))
    if code == 0:
        return verdict(False, "SURVIVED: every named test passed", output)
    return verdict(False, f"tests could not run (exit code {code})", output)


def failed_test(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.partition(" ")[2].partition(" - ")[0].rpartition("/")[2]
    return "failed"


def check_unbroken(mutations: list[Mutation], seconds_max: float) -> Verdict:
    """The named tests pass on an unmutated copy; otherwise failing would prove nothing."""
    begin = time.monotonic()
    tests = list(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    with tempfile.TemporaryDirectory(prefix="moorage-mutant-") as directory:
        target = Path(directory).resolve()
        copy_tree(target)
        code, output = run_tests(target, tests, seconds_max * UNBROKEN_TIMES)
    seconds = time.monotonic() - begin
    how = "all named tests pass" if code == 0 else f"named tests fail unbroken (exit code {code})"
    return Verdict("(the code as it is)", 0, code == 0, seconds, how, output)


def show(verdict: Verdict) -> None:
    word = "ok  " if verdict.caught else "FAIL"
    promise = verdict.promise or "-"
    print(f"{word} {promise!s:>2}  {verdict.name:<52} {verdict.seconds:5.1f} s  {verdict.how}")
    if not verdict.caught and verdict.output:
        print("      " + "\n      ".join(verdict.output.splitlines()[-15:]))
    sys.stdout.flush()


def main() -> int:
    """Run the mutations; 0 if all were caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutations whose name contains this text")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--seconds", type=float, default=60.0, help="then a mutant is killed")
    options = parser.parse_args()
    mutations = [m for m in load_mutations() if options.only in m.name]

    unbroken = check_unbroken(mutations, options.seconds)
    show(unbroken)
    verdicts: list[Verdict] = []
    if unbroken.caught:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for verdict in pool.map(lambda m: judge(m, options.seconds), mutations):
                show(verdict)
                verdicts.append(verdict)

    failed = [verdict for verdict in [unbroken, *verdicts] if not verdict.caught]
    passed = sum(verdict.caught for verdict in verdicts)
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
