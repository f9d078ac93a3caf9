"""The work: Python's own tools over Python's own standard library, with their real output."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moorage.runtime import RunRequest

SESSIONS = ("compiler", "imports", "bytecode", "tests")
SLOTS = 2

_PACKAGES = ("json", "email", "logging", "http", "xml", "concurrent", "urllib", "importlib")
_IMPORTS = (
    "asyncio",
    "unittest.mock",
    "http.server",
    "email.mime.text",
    "xmlrpc.client",
    "multiprocessing.managers",
    "concurrent.futures.process",
    "logging.config",
)
_MODULES = ("bisect", "queue", "sched", "heapq", "shlex", "fnmatch", "textwrap", "string")
_TESTS = ("bisect", "textwrap", "shlex", "fnmatch", "string", "heapq", "difflib", "csv")


def input_of(session_id: str, number: int) -> dict[str, Any]:
    """The input of a session's run ``number``; the same number gives the same program."""
    if session_id == "compiler":
        return {"tool": "compileall", "on": _PACKAGES[number % len(_PACKAGES)]}
    if session_id == "imports":
        return {"tool": "importtime", "on": _IMPORTS[number % len(_IMPORTS)]}
    if session_id == "tests" and _tests_are_installed():
        return {"tool": "unittest", "on": _TESTS[number % len(_TESTS)]}
    return {"tool": "dis", "on": _MODULES[number % len(_MODULES)]}


def _tests_are_installed() -> bool:
    """Some systems package Python without its tests."""
    return importlib.util.find_spec("test.test_bisect") is not None


def label_of(input: Any) -> str:
    """``compileall json``."""
    return f"{input['tool']} {input['on']}"


def command_of(request: RunRequest, scratch: Path) -> list[str]:
    """The command line of a run. Tools that report on standard error report to the log, too."""
    tool, on = request.input["tool"], request.input["on"]
    library = Path(sysconfig.get_paths()["stdlib"])
    python = [sys.executable, "-I", "-u"]
    if tool == "compileall":
        cache = f"pycache_prefix={scratch / request.run_id}"
        return [*python, "-X", cache, "-m", "compileall", "-f", str(library / on)]
    if tool == "dis":
        return [*python, "-m", "dis", str(library / f"{on}.py")]
    if tool == "importtime":
        command = [*python, "-X", "importtime", "-c", f"import {on}"]
    else:
        command = [*python, "-m", "unittest", "-v", f"test.test_{on}"]
    return ["sh", "-c", 'exec "$@" 2>&1', "sh", *command]
