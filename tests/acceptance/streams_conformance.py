"""Run the public conformance suite of Durable Streams against a real server.

``python tests/acceptance/streams_conformance.py SUITE`` where SUITE is a folder that npm has
installed the suite into. What does not pass is compared with streams_conformance.toml: something
new on either side is an error, and the figures are printed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTED = Path(__file__).with_suffix(".toml")
DOCUMENT = EXPECTED.parents[2] / "docs" / "durable_streams.md"
TEST_MILLISECONDS_MAX = 120_000
"""The suite's own limit is shorter than one of our long polls."""
RETRIES = 2
"""Some of its tests look at a clock: on a busy machine one may come too late."""
ORIGIN = "https://example.com"
"""Whose preflight request the suite sends."""
TEST_FILE = """import { runConformanceTests } from "@durable-streams/server-conformance-tests"
runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL })
"""


@contextmanager
def served() -> Iterator[str]:
    """The address of a server with an empty store; it is ended in order, and that is checked."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "moorage.adapters.gateways", "serve"]
        command += ["--agent", "scripted", "--bind", "127.0.0.1:0", "--cors", ORIGIN]
        server = subprocess.Popen(
            [*command, "--data", str(Path(directory) / "data")], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            status = server.wait()
        if status:
            raise SystemExit(f"the server ended with exit code {status}")


def outcomes(suite: Path, address: str) -> list[tuple[str, str, str]]:
    """(outermost group, full name, status) of each test of the suite."""
    (suite / "conformance.test.mjs").write_text(TEST_FILE)
    report = suite / "report.json"
    report.unlink(missing_ok=True)
    subprocess.run(
        [
            str(suite / "node_modules" / ".bin" / "vitest"),
            *("run", "conformance.test.mjs", "--reporter=default", "--reporter=json"),
            *(f"--outputFile.json={report}", f"--retry={RETRIES}"),
            f"--testTimeout={TEST_MILLISECONDS_MAX}",
        ],
        cwd=suite,
        env={**os.environ, "CONFORMANCE_TEST_URL": address, "NO_COLOR": "1"},
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(report.read_text())["testResults"]
    return [
        (test["ancestorTitles"][0], test["fullName"], test["status"])
        for file in found
        for test in file["assertionResults"]
    ]


def example(suite: Path, address: str) -> list[str]:
    """What is wrong with the JavaScript of the document."""
    (code,) = re.findall(r"```js\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (suite / "example.mjs").write_text(code)
    done = subprocess.run(
        ["node", "example.mjs"],
        cwd=suite,
        env={**os.environ, "URL": address},
        capture_output=True,
        text=True,
        timeout=TEST_MILLISECONDS_MAX / 1_000,
    )
    steps = [line.split()[0] for line in done.stdout.splitlines()]
    if done.returncode or steps != ["compile", "link"]:
        return [f"the example of {DOCUMENT.name} does not work: {done.stdout}{done.stderr}"]
    return []


def compared(tests: list[tuple[str, str, str]], expected: list[dict[str, str]]) -> list[str]:
    """What is not as it is written down."""
    wrong = [] if tests else ["no test was run"]
    listed: Counter[int] = Counter()
    for group, name, status in tests:
        entries = [
            index
            for index, entry in enumerate(expected)
            if entry.get("group") == group or entry.get("name") == name
        ]
        listed.update(entries)
        if status == "passed" and entries:
            wrong.append(f"it passes now, take it out of {EXPECTED.name}: {name}")
        elif status != "passed" and not entries:
            wrong.append(f"{status}: {name}")
    for index, entry in enumerate(expected):
        if not listed[index]:
            wrong.append(f"there is no such test: {entry.get('group') or entry.get('name')}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path, help="where npm has installed the suite")
    suite = parser.parse_args().suite.resolve()
    expected = tomllib.loads(EXPECTED.read_text())["not_passed"]
    with served() as address:
        tests = outcomes(suite, address)
        wrong = [*compared(tests, expected), *example(suite, address)]
    for line in wrong:
        print(line)
    counts = Counter(status for _, _, status in tests)
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    print(f"Durable Streams: {told}; {len(wrong)} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
