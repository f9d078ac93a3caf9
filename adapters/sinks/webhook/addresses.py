"""Where webhooks may go: to public addresses, encrypted, and else only where it was allowed.

Whoever may name a URL could otherwise make this process talk to what only it can reach: itself,
the machines beside it, a cloud's metadata service (server-side request forgery). The tables are
IANA's registries of special-purpose addresses, written out: what Python calls global differs from
version to version.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from moorage.runtime.errors import InvalidArgument, MoorageError

if TYPE_CHECKING:
    from collections.abc import Collection

URL_CHARACTERS_MAX = 2_048

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier's customers"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, where clouds have their metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "special"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "a relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("2001::/23", "special"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "a relay"),
    ("3fff::/20", "for documentation"),
)
_NETWORKS = tuple((ip_network(network), why) for network, why in _NOT_PUBLIC)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
"""How a network without IPv4 reaches IPv4 addresses, which are the last 32 bits."""


class AddressRefused(MoorageError):
    """A target at an address that webhooks may not go to. ``told`` says so without the address of
    a name: whoever may name a URL need not learn what a network calls its own."""

    code = "address_refused"

    def __init__(self, message: str, *, address: str, told: str) -> None:
        super().__init__(message)
        self.address = address
        self.told = told


class AddressRules:
    """Public addresses over https, and every address in ``allowed_networks``, like
    ``("10.1.0.0/16", "127.0.0.1/32")``, over http as well. Raises InvalidArgument."""

    def __init__(self, allowed_networks: Collection[str] = ()) -> None:
        if isinstance(allowed_networks, str):
            raise InvalidArgument(f"allowed_networks must be several, not {allowed_networks!r}")
        self.allowed_networks = tuple(_network(text) for text in allowed_networks)

    def check_url(self, url: str) -> SplitResult:
        """The parts of a URL that may be posted to, as far as can be told without resolving its
        name, which is done each time one connects. Raises InvalidArgument and AddressRefused."""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise InvalidArgument("url must be printable ASCII: write it percent-encoded, xn--...")
        if len(url) > URL_CHARACTERS_MAX:
            raise InvalidArgument(
                f"url is {len(url)} characters and the limit is {URL_CHARACTERS_MAX}"
            )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidArgument(f"url cannot be read: {error}") from None
        if parts.scheme not in ("https", "http") or not host or port == 0:
            raise InvalidArgument("url must be like https://example.com/hook")
        if "@" in parts.netloc or parts.fragment:
            raise InvalidArgument("url must have no user, no password and no fragment")
        if parts.scheme == "http" and not self.allowed_networks:
            raise InvalidArgument(
                "url must begin with https:// unless its address is in an allowed network"
            )
        address = literal(host)
        if address is not None:
            self.check_address(host, address, encrypted=parts.scheme == "https")
        else:
            _check_name(host)
        return parts

    def check_address(self, host: str, address: Address, *, encrypted: bool) -> None:
        """Raise AddressRefused for one that must not be connected to."""
        judged = embedded(address)
        if any(
            network.version == judged.version and judged in network
            for network in self.allowed_networks
        ):
            return
        why = refusal(judged)
        told = f"{host} does not resolve to a public address"
        if why is None and not encrypted:
            why = "reached without encryption"
            told = f"{host} would be reached without encryption"
        if why is not None:
            remedy = (
                "webhooks go to public addresses over https, and elsewhere only to allowed networks"
            )
            message = f"{host} is at {address}, which is {why}: {remedy}"
            raise AddressRefused(
                message,
                address=str(address),
                told=message if literal(host) is not None else f"{told}: {remedy}",
            )


def refusal(address: Address) -> str | None:
    """Why an address is not public; None if it is."""
    for network, why in _NETWORKS:
        if network.version == address.version and address in network:
            return why
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return "no public address"
    return None


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, or itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def literal(host: str) -> Address | None:
    """The address that a host is, if it is none that has to be resolved."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _check_name(host: str) -> None:
    """Raise InvalidArgument for a name that could not even be looked up."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise InvalidArgument(
            "url must have a host whose labels, between its dots, are 1 to 63 characters each"
        ) from None


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"{text!r} is no network like 10.1.0.0/16: {error}") from None
