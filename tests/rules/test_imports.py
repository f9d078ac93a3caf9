"""Imports point one way. The tables below are the architecture; the README draws them."""

from __future__ import annotations

import ast
import sys
from functools import cache

import pytest

from tests.rules.source_tree import PRODUCT, SourceFile, source_files

PURE_CORE = frozenset(
    {
        "agents",
        "branches",
        "commands",
        "dialogue",
        "entries",
        "errors",
        "events",
        "identifiers",
        "image",
        "limits",
        "machine",
        "marks",
        "messages",
        "moorage_error",
        "query_cursors",
        "query_filters",
        "query_pages",
        "placement",
        "restarts",
        "retention",
        "retention_settings",
        "run_decisions",
        "run_errors",
        "runs",
        "session_decisions",
        "session_errors",
        "sessions",
        "steps",
        "store_errors",
        "summaries",
        "talk_decisions",
        "telling",
        "transcript",
        "transitions",
        "usage",
    }
)
"""Modules of the runtime that decide: no trio, no log call, no clock, no ids, no I/O."""

PURE_STANDARD_LIBRARY = frozenset(
    {
        "__future__",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "typing",
        "unicodedata",
        "zlib",
    }
)

VOCABULARY = frozenset(
    {
        "agents",
        "codec",
        "commands",
        "current",
        "errors",
        "events",
        "identifiers",
        "limits",
        "messages",
        "own_process",
        "overrides",
        "placement",
        "ports",
        "reversible_json",
        "runs",
        "sessions",
        "telling",
        "transcript",
        "transcript_pages",
    }
)
"""What stores and adapters may import from the runtime: words and ports, never its shell."""

WIRE_MODULE = "moorage.runtime.codec"
WIRE_PACKAGES = frozenset({"cattrs", "msgpack"})

SHELL_PACKAGES = frozenset({"attrs", "trio", "structlog", "outcome"})
"""outcome holds a value or an exception; it is trio's own, and part of trio's interface."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "typer": ("adapters/gateways/",),
    "rich": ("adapters/gateways/", "adapters/sinks/"),
    "anthropic": ("adapters/agents/anthropic_api/",),
    "openai": ("adapters/agents/openai_api/",),
    "httpx2": ("adapters/agents/anthropic_api/", "adapters/agents/openai_api/"),
    "agents": ("adapters/agents/openai_api/",),
    "claude_agent_sdk": ("adapters/agents/claude_code/",),
    "codex_cli_bin": ("adapters/agents/codex/",),
    "acp": ("adapters/agents/acp/",),
    "h11": ("adapters/agents/model_twin/",),
    "starlette": ("adapters/gateways/http/", "adapters/gateways/asyncio_host/"),
    "hypercorn": ("adapters/gateways/http/",),
    "jsonschema": ("adapters/gateways/http/",),
    "httpx": ("adapters/gateways/http_client/",),
    "httpcore": ("adapters/sinks/webhook/",),
    "anyio": ("adapters/gateways/http_client/",),
    "coredis": ("stores/redis/",),
    "psycopg": ("stores/postgres/",),
    "psycopg_pool": ("stores/postgres/",),
    "pydantic": ("adapters/agents/acp/",),
    "cryptography": ("stores/encryption/",),
    "obstore": ("stores/artifacts/",),
    "yaml": ("adapters/gateways/configuration/",),
    "opentelemetry": ("adapters/sinks/telemetry/",),
    "prometheus_client": ("adapters/sinks/telemetry/",),
}
"""Optional packages and where they may be imported. httpx2 comes with both SDKs that use it,
anyio with httpx."""


def imported(file: SourceFile) -> list[tuple[int, str]]:
    """(line, absolute module) of each import, with ``from . import x`` told as package.x."""
    package = file.module.split(".")
    if not file.name.endswith("__init__.py"):
        package = package[:-1]
    found: list[tuple[int, str]] = []
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module in known_packages() and (node.level or module.startswith("moorage")):
                found += [
                    (node.lineno, f"{module}.{alias.name}")
                    if f"{module}.{alias.name}" in known_modules()
                    else (node.lineno, module)
                    for alias in node.names
                ]
            else:
                found.append((node.lineno, module))
    return found


@cache
def known_modules() -> frozenset[str]:
    return frozenset(file.module for file in source_files(*PRODUCT))


@cache
def known_packages() -> frozenset[str]:
    return frozenset(
        file.module for file in source_files(*PRODUCT) if file.name.endswith("__init__.py")
    )


def top(module: str) -> str:
    return module.partition(".")[0]


def refusal(file: SourceFile, module: str) -> str | None:
    """Why ``file`` may not import ``module``, with what to do instead, or None."""
    if top(module) == "moorage":
        return _refused_own(file, module)
    if top(module) in WIRE_PACKAGES and file.module != WIRE_MODULE:
        return "bytes are made in runtime/codec.py alone: add a function there and call it"
    if file.module.startswith("moorage.runtime.") and file.module.split(".")[2] in PURE_CORE:
        if top(module) not in PURE_STANDARD_LIBRARY | {"attrs"}:
            return "the pure core gets time, ids and I/O as values: move this into the shell"
        return None
    return _refused_package(file, top(module))


def _refused_own(file: SourceFile, module: str) -> str | None:
    _, here, *_ = file.module.split(".")
    part, *rest = [*module.split(".")[1:], ""]
    name = rest[0]
    if here == "runtime":
        if part != "runtime":
            return "the runtime knows no store and no adapter: put what is shared into its ports"
        own = [*file.module.split("."), ""][2]
        if own in PURE_CORE and name not in PURE_CORE:
            return "the pure core imports only the pure core: pass the value in"
        return None
    if file.name.startswith("adapters/gateways/"):
        if part == "runtime" and name and name not in VOCABULARY | PURE_CORE:
            return "gateways use the public names: from moorage.runtime import ..."
        return None
    if part == "runtime" and name not in VOCABULARY:
        return "only the vocabulary may be imported: from moorage.runtime.events import ..."
    if part not in ("runtime", here):
        return "stores and adapters do not know each other: compose them in adapters/gateways"
    return None


def _refused_package(file: SourceFile, package: str) -> str | None:
    if package in EXTRAS:
        if file.name.startswith(EXTRAS[package]):
            return None
        return f"{package} is an extra: it belongs below {EXTRAS[package]}"
    if package in sys.stdlib_module_names or package in WIRE_PACKAGES | SHELL_PACKAGES:
        return None
    if file.name.startswith("adapters/agents/"):
        return f"{package} is no base dependency: declare an extra and name it in EXTRAS here"
    return f"{package} is no base dependency"


@pytest.mark.parametrize("file", source_files(*PRODUCT), ids=lambda file: file.name)
def test_every_import_follows_the_house_plan(file: SourceFile) -> None:
    refused = [
        f"{file.name}:{line} imports {module}: {why}"
        for line, module in imported(file)
        if (why := refusal(file, module)) is not None
    ]

    assert not refused, "\n".join(refused)


def test_the_tables_name_modules_that_exist() -> None:
    there = {module.removeprefix("moorage.runtime.") for module in known_modules()}

    missing = sorted((PURE_CORE | VOCABULARY) - there)

    assert not missing, f"take these out of the tables above, or restore them: {missing}"


FORBIDDEN = (
    ("runtime/machine.py", "import trio", "pure core"),
    ("runtime/machine.py", "import time", "pure core"),
    ("runtime/machine.py", "from .worker import Worker", "pure core"),
    ("runtime/worker.py", "from moorage.stores import MemoryStore", "no store"),
    ("runtime/worker.py", "import msgpack", "codec"),
    ("stores/memory.py", "from moorage.runtime.worker import Worker", "vocabulary"),
    ("stores/memory.py", "from moorage.runtime import open_supervisor", "vocabulary"),
    ("stores/memory.py", "from moorage.adapters.agents import ProcessAgent", "each other"),
    ("stores/memory.py", "import rich", "extra"),
    ("adapters/gateways/command_line.py", "from moorage.runtime.worker import W", "public names"),
    ("adapters/agents/process.py", "import requests", "no base dependency"),
)


@pytest.mark.parametrize(("name", "line", "why"), FORBIDDEN)
def test_a_forbidden_import_is_noticed(name: str, line: str, why: str) -> None:
    file = SourceFile(name, line)

    reasons = [refusal(file, module) for _, module in imported(file)]

    assert any(why in (reason or "") for reason in reasons), reasons
