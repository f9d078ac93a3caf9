"""The console's files over HTTP. They are the same for everybody, and so need no token: what the
page shows it asks for like any other client.

The policy that comes with them lets the page run its own modules and nothing else: no script from
elsewhere or in the page, no connection but to this server, no frame around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.adapters.gateways.console import console_files
from starlette.responses import Response

from .problems import MethodNotAllowed, UnknownRoute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.adapters.gateways.console import ConsoleFile
    from starlette.datastructures import Headers

PLACE = b"/console"
_BELOW = PLACE + b"/"
_MOVED: Mapping[bytes, str] = {b"/": "console/", PLACE: "console/"}
"""Where to go instead; relative, so that a proxy may put all of it below a path of its own."""
_METHODS = ("GET", "HEAD")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    # asked for again each time, and not sent again unless it changed: a newer server is a newer
    # page at once
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


def is_console_path(raw_path: bytes) -> bool:
    """Whether the console answers what is asked for there."""
    return raw_path in _MOVED or raw_path.startswith(_BELOW)


def console_answer(method: str, raw_path: bytes, headers: Headers) -> Response:
    """The file at a path of the console, or where to find it. Raises MethodNotAllowed, and
    UnknownRoute for what is no file of its."""
    if method not in _METHODS:
        raise MethodNotAllowed(method, allowed=_METHODS)
    if raw_path in _MOVED:
        return Response(None, 307, headers={"location": _MOVED[raw_path]} | dict(HEADERS))
    path = raw_path.removeprefix(_BELOW).decode("latin-1")
    file = console_files().get(path)
    if file is None:
        raise UnknownRoute(f"the console has no file {path[:200]!r}")
    head = {"etag": file.etag} | dict(HEADERS)
    if _is_known(file, headers.get("if-none-match", "")):
        return Response(None, 304, headers=head)
    # of HEAD the server sends the length, and leaves the body out
    return Response(file.content, headers=head, media_type=file.media_type)


def _is_known(file: ConsoleFile, known: str) -> bool:
    """Whether the browser has it already; it may name several, and a proxy may weaken them."""
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    return known.strip() == "*" or file.etag in tags
