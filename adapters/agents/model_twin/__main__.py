"""A ModelTwin by hand: point a real program at it and see what it asks.

::

    python -m moorage.adapters.agents.model_twin --say "Hello" [--port N]
    python -m moorage.adapters.agents.model_twin --script FILE.json [--directory DIR]

Prints the variables of each kind of client, then a line per request, until it is interrupted.
Clients that need files (Codex, pi) get them in directories below DIR, and are shown only with it.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from moorage.runtime.errors import InvalidArgument

from .client_settings import CLIENTS
from .replies import Text
from .script_files import read_script
from .server import ModelTwin, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .twin_request import TwinRequest


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Returns 0, or 1 with a sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        trio.run(_serve, _script(options), options.port, options.directory)
    except (InvalidArgument, OSError) as error:
        sys.stderr.write(f"model_twin: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moorage.adapters.agents.model_twin",
        description="a scripted model server on 127.0.0.1",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--say", metavar="TEXT", help="answer everything with this text")
    source.add_argument("--script", metavar="FILE", type=Path, help="play the replies of a file")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--directory", type=Path, help="where configuration files are written")
    return parser


def _script(options: argparse.Namespace) -> Script:
    if options.script is not None:
        return read_script(options.script)
    return lambda request: Text(options.say)


async def _serve(script: Script, port: int, directory: Path | None) -> None:
    twin = ModelTwin(script)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with twin.serving(port=port), trio.open_nursery() as nursery:
            _say(f"serving at {twin.url}")
            for kind, client in CLIENTS.items():
                if directory is not None:
                    _say_variables(kind, twin.configure(kind, directory / kind))
                elif client.write is None:
                    _say_variables(kind, twin.environment(kind))
            nursery.start_soon(_follow, twin)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def _follow(twin: ModelTwin) -> None:
    """Tell of each request once it is over."""
    number = 0
    while True:
        number += 1
        await twin.wait_all_requests(number)
        request = await twin.wait_answered(twin.all_requests[number - 1])
        _say(_line(request))


def _line(request: TwinRequest) -> str:
    words = [f"{request.number}: {request.method} {request.path}", request.outcome]
    words += [str(request.status or ""), request.model or "", repr(request.prompt[-80:])]
    return "  ".join(word for word in words if word not in ("", "''"))


def _say_variables(kind: str, variables: dict[str, str]) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    _say("\n".join([f"\n# {kind}", *lines]))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
