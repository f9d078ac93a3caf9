"""Runs pytest on one tree after another, each time in a fork of a process that has imported what
is not the project's own: that takes longer than most of these tests.

A request is a line of JSON, {"tree", "tests", "output", "bytecode"}; the answers are a line with
the pid of the fork and, when it has ended, one with its exit code. That is ``RAN`` and pytest's own
code; any other means that pytest did not come to its end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

RAN = 100

PRELOADED = (
    "attrs",
    "cattrs.preconf.msgpack",
    "coredis",
    "cryptography.hazmat.primitives.ciphers.aead",
    "httpcore",
    "httpx",
    "hypercorn.trio",
    "hypothesis.strategies",
    "jsonschema",
    "msgpack",
    "psycopg_pool",
    "pytest",
    "rich.console",
    "starlette.applications",
    "starlette.responses",
    "starlette.routing",
    "structlog",
    "trio.testing",
    "typer",
)
PLUGINS = ("pytest_trio.plugin", "_hypothesis_pytestplugin", "anyio.pytest_plugin")


def run_pytest(tree: Path, tests: list[str], output: str, *, bytecode: bool) -> int:
    """pytest's exit code plus ``RAN``; moorage and tests are imported from ``tree``."""
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for standard, taken in enumerate((os.open(os.devnull, os.O_RDONLY), file, file)):
        os.dup2(taken, standard)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.dont_write_bytecode = not bytecode
    if not bytecode:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTHONPATH"] = str(tree / "packages")
    os.chdir(tree)
    sys.path[:0] = [str(tree / "packages"), str(tree)]

    import moorage.runtime
    import pytest

    assert Path(moorage.runtime.__file__).is_relative_to(tree), moorage.runtime.__file__
    named = [word for plugin in PLUGINS for word in ("-p", plugin)]
    cache = f"cache_dir={tree.parent / 'cache'}"  # not in a tree, whose files are shared
    plain = ["-q", "-x", "--no-header", "--disable-plugin-autoload", "-o", cache]
    return RAN + pytest.main([*plain, *named, *tests])


def answer(request: dict[str, Any]) -> int | None:
    """What the fork has to exit with, in the fork; None in the server."""
    pid = os.fork()
    if not pid:
        request["tree"] = Path(request["tree"])
        return run_pytest(**request)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def serve() -> int:
    # the editable install would answer for moorage before sys.path is asked
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if "__editable__" not in getattr(finder, "__module__", "")
    ]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for module in PRELOADED:
        importlib.import_module(module)
    own = [name for name in sys.modules if name.partition(".")[0] in ("moorage", "tests")]
    assert not own, own
    gc.freeze()
    warnings.resetwarnings()
    for line in sys.stdin:
        code = answer(json.loads(line))
        if code is not None:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(serve())
