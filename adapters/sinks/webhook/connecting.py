"""Connections to addresses that were checked: a name is resolved once, here, and what is connected
to is what was looked at. A name that means something else a moment later gains nothing by it.

Only the address is replaced: encryption and the Host header have the name that was asked for.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import httpcore
import structlog
import trio

from .addresses import literal

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from .addresses import Address, AddressRules

    Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

logger = structlog.get_logger("moorage")

ADDRESSES_MAX = 4
"""Of one name that are tried, one after the other."""


async def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of a name, as this machine is told them. Raises OSError."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [literal(str(entry[4][0])) for entry in found]
    return list(dict.fromkeys(address for address in addresses if address is not None))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects for httpcore. ``encrypted`` says whether TLS is spoken over what it connects."""

    def __init__(
        self, rules: AddressRules, resolve: Resolve, *, encrypted: bool, answer_bytes_max: int
    ) -> None:
        self._rules = rules
        self._answer_bytes_max = answer_bytes_max
        self._resolve = resolve
        self._encrypted = encrypted
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefused if any address of the name is one that must not be connected to:
        who mixes such with others means no good."""
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                addresses = await self._addresses(host, port)
                for address in addresses:
                    self._rules.check_address(host, address, encrypted=self._encrypted)
                return await self._connect(host, addresses[:ADDRESSES_MAX], port, socket_options)
        except trio.TooSlowError:
            raise httpcore.ConnectTimeout(f"{host} was not connected in {timeout:g} s") from None

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        address = literal(host)
        if address is not None:
            return [address]
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        if not addresses:
            raise httpcore.ConnectError(f"{host} has no address")
        return addresses

    async def _connect(
        self, host: str, addresses: Sequence[Address], port: int, socket_options: Any
    ) -> httpcore.AsyncNetworkStream:
        refused = ""
        for address in addresses:
            try:
                stream = await self._trio.connect_tcp(
                    str(address), port, socket_options=socket_options
                )
            except httpcore.ConnectError as error:
                refused = _strerror(error)
                logger.info("webhook_not_connected", address=str(address), port=port, why=refused)
            else:
                return BoundedStream(stream, self._answer_bytes_max)
        # a new error, without a cause: those name the address, which is for the log only
        raise httpcore.ConnectError(f"{host} takes no connection: {refused}")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


def _strerror(error: BaseException | None) -> str:
    """What the system says of it, which names no address."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno)  # trio puts the address into its own
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__
    return "it failed"


class BoundedStream(httpcore.AsyncNetworkStream):
    """Reads so many bytes of each answer and no more, headers included; AnswerTooLong then.

    The bound is here, and not where the answer is read: leaving that in the middle would leave
    httpcore's generators behind.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._left = bytes_max

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise AnswerTooLong(f"the answer is longer than {self._bytes_max} bytes")
        got: bytes = await self._stream.read(min(max_bytes, self._left), timeout)
        self._left -= len(got)
        return got

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._left = self._bytes_max
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return BoundedStream(stream, self._bytes_max)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AnswerTooLong(httpcore.ReadError):
    """More of an answer came than anybody wants to read."""
