"""``python -m benchmarks NAME [--quick]`` prints JSON lines; NAME may be ``all``."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from benchmarks.measuring import Report, machine

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS = {
    "runs": "benchmarks.runs",
    "stream": "benchmarks.stream",
    "latency": "benchmarks.latency",
    "fanout": "benchmarks.fanout",
    "backfill": "benchmarks.backfill",
    "page": "benchmarks.page",
    "create": "benchmarks.small_writes",
    "append": "benchmarks.small_writes",
    "checkpoint": "benchmarks.small_writes",
    "open": "benchmarks.opening",
    "memory": "benchmarks.memory",
    "growth": "benchmarks.growth",
    "stores": "benchmarks.stores",
    "encryption": "benchmarks.encryption",
    "agent_streaming": "benchmarks.agent_streaming",
    "asyncio_face": "benchmarks.asyncio_face",
    "postgres": "benchmarks.postgres_nodes",
    "http": "benchmarks.http",
    "peers": "benchmarks.peers",
}
"""Name -> module with ``measure(report, quick)``; one report carries the name it was asked for."""


def questions() -> str:
    """A line for each benchmark: its name, and the question that it answers."""
    lines = ["NAME is one of:"]
    for name, module in BENCHMARKS.items():
        # read and not imported: what one needs may not be installed
        file = Path(__file__).with_name(f"{module.rpartition('.')[2]}.py")
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        lines.append(f"  {name:<16} {docstring.partition(chr(10))[0]}")
    return "\n".join(lines)


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=questions(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to try it out")
    if not sys.argv[1:]:
        parser.print_help()
        return 2
    options = parser.parse_args()
    # standard output is for figures
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    names = list(BENCHMARKS) if "all" in options.names else options.names

    print(json.dumps(machine()), flush=True)
    for name in names:
        measure: Callable[[Report, bool], None] = importlib.import_module(BENCHMARKS[name]).measure
        measure(Report(name), options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
