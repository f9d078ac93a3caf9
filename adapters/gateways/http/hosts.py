"""Where a server listens, and which Host headers it answers to.

Without tokens whoever reaches the server may do anything: it is bound to this machine alone. A web
page that has its own name point at 127.0.0.1 reaches it through the browser, and is told by the
name in the Host header.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument
from starlette.datastructures import Headers

from .problems import HostRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

    Refuse = Callable[[HostRefused, Scope, Receive, Send], Awaitable[None]]

PORT_MAX = 65_535


def parse_bind(bind: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8040`` or ``[::1]:8040``. Raises InvalidArgument."""
    host, colon, port = bind.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise InvalidArgument(
            f"bind must be HOST:PORT with a port from 0 to {PORT_MAX}, like 127.0.0.1:8040 or "
            f"[::1]:8040, not {bind!r}"
        )
    return host, int(port)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, *, has_auth: bool) -> None:
    """Raise InvalidArgument if others could reach a server that asks nobody who they are."""
    if not has_auth and not is_loopback(host):
        raise InvalidArgument(
            f"bound to {host} anybody who reaches it could do anything: give it tokens (moorage "
            "tokens new NAME, then --tokens FILE or auth=TokenFile(FILE)), or bind it to 127.0.0.1"
        )


class KnownHosts:
    """Refuses requests whose Host header names neither this machine nor one of ``names``, of which
    ``*.example.test`` stands for every name below ``example.test``. ``refuse`` answers them, so
    that they are on record like all others.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse
        lowered = [name.lower() for name in names]
        self._names = frozenset(name for name in lowered if not name.startswith("*."))
        self._below = tuple(name[1:] for name in lowered if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            name = _name(host)
            if not (is_loopback(name) or name in self._names or name.endswith(self._below)):
                refused = HostRefused(
                    f"the Host header is {host[:200]!r} and this server is for this machine alone: "
                    "ask for 127.0.0.1, or allow the name (--allowed-host, allowed_hosts)"
                )
                await self._refuse(refused, scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """The name or address in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
