"""Break the code in every listed way, one at a time: a named test must fail each time.

Every mutant is a tree of its own, with the packages and the repository's tests, which stands first
on the import path. The process that runs the tests checks that it really imported the mutant. A
mutant that hangs is killed and counts as caught.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.acceptance.mutant_trees import copy_tree, link_tree, replace_text  # noqa: E402
from tests.acceptance.mutation_table import Mutation, load_mutations  # noqa: E402
from tests.acceptance.pytest_server import RAN  # noqa: E402

TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed; others mean that they could not run."""
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


class PytestServer:
    """A process of pytest_server.py, which runs one request at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "tests/acceptance/pytest_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, tree: Path, tests: list[str], seconds_max: float, *, bytecode: bool = False
    ) -> tuple[int | None, str]:
        """pytest's exit code and output; None as code if it had to be killed. With ``bytecode``,
        what is compiled is kept in the tree."""
        output = tree / "output.txt"
        request = {"tree": str(tree), "tests": tests, "output": str(output), "bytecode": bytecode}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        pid = self._answer()
        killed = threading.Event()

        def kill() -> None:
            killed.set()
            os.killpg(pid, signal.SIGKILL)

        timer = threading.Timer(seconds_max, kill)
        timer.start()
        code = self._answer()
        timer.cancel()
        text = output.read_text(encoding="utf-8", errors="replace")
        output.unlink()
        return None if killed.is_set() else code - RAN, text

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


@attrs.frozen
class Workshop:
    """Where mutants are made: from a tree whose named tests pass, and are compiled."""

    directory: Path
    seconds_max: float
    servers: queue.SimpleQueue[PytestServer] = attrs.field(factory=queue.SimpleQueue)

    @property
    def unbroken(self) -> Path:
        return self.directory / "unbroken"

    def run_tests(
        self, tree: Path, tests: list[str], seconds_max: float, *, bytecode: bool = False
    ) -> tuple[int | None, str]:
        """By a server that has nothing else to do."""
        server = self.servers.get()
        try:
            return server.run(tree, tests, seconds_max, bytecode=bytecode)
        finally:
            self.servers.put(server)

    def check_unbroken(self, mutations: list[Mutation]) -> Verdict:
        """The named tests pass on an unmutated copy; otherwise failing would prove nothing."""
        begin = time.monotonic()
        tests = list(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
        copy_tree(self.unbroken)
        seconds_max = self.seconds_max * UNBROKEN_TIMES
        code, output = self.run_tests(self.unbroken, tests, seconds_max, bytecode=True)
        seconds = time.monotonic() - begin
        how = "all named tests pass" if code == 0 else f"named tests fail unbroken (code {code})"
        return Verdict("(the code as it is)", 0, code == 0, seconds, how, output)

    def judge(self, mutation: Mutation) -> Verdict:
        """Make the mutant and run its tests."""
        begin = time.monotonic()

        def verdict(caught: bool, how: str, output: str = "") -> Verdict:
            seconds = time.monotonic() - begin
            return Verdict(mutation.name, mutation.promise, caught, seconds, how, output)

        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            tree = Path(directory)
            link_tree(self.unbroken, tree)
            mutated = tree / mutation.file
            text = mutated.read_text(encoding="utf-8")
            if text.count(mutation.old) != 1:
                return verdict(False, f"old text stands {text.count(mutation.old)} times there")
            replace_text(mutated, text.replace(mutation.old, mutation.new))
            code, output = self.run_tests(tree, mutation.tests, self.seconds_max)
        if code is None:
            return verdict(True, f"killed after {self.seconds_max:.0f} s")
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


def show(verdict: Verdict) -> None:
    word = "ok  " if verdict.caught else "FAIL"
    promise = verdict.promise or "-"
    print(f"{word} {promise!s:>2}  {verdict.name:<52} {verdict.seconds:5.1f} s  {verdict.how}")
    if not verdict.caught and verdict.output:
        print("      " + "\n      ".join(verdict.output.splitlines()[-15:]))
    sys.stdout.flush()


def run(mutations: list[Mutation], workshop: Workshop, jobs: int) -> int:
    servers = [PytestServer() for _ in range(jobs)]
    for server in servers:
        workshop.servers.put(server)
    unbroken = workshop.check_unbroken(mutations)
    show(unbroken)
    verdicts: list[Verdict] = []
    if unbroken.caught:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for verdict in pool.map(workshop.judge, mutations):
                show(verdict)
                verdicts.append(verdict)
    for server in servers:
        server.close()

    failed = [verdict for verdict in [unbroken, *verdicts] if not verdict.caught]
    passed = sum(verdict.caught for verdict in verdicts)
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not verdicts else 0


def main() -> int:
    """Run the mutations; 0 if all were caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutations whose name contains this text")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--seconds", type=float, default=60.0, help="then a mutant is killed")
    options = parser.parse_args()
    mutations = [m for m in load_mutations() if options.only in m.name]
    with tempfile.TemporaryDirectory(prefix="moorage-mutant-") as directory:
        return run(mutations, Workshop(Path(directory).resolve(), options.seconds), options.jobs)


if __name__ == "__main__":
    sys.exit(main())
