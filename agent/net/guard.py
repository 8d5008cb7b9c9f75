"""The address guard: link-local and cloud metadata addresses give away credentials, so requests may not go there.

Names are judged by what they resolve to, at the moment of connecting and by the very addresses that are then
connected to, so that neither a redirect nor a name that resolves differently the second time gets around it.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from agent.net.errors import AddressRefusedError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_REFUSED_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Azure, Google, OpenStack and most others; ECS and EKS credentials
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # AWS: metadata, DNS, pod identity
            "fd20:ce::254/128",  # Google
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure's wire server
            "192.0.0.192/32",  # Oracle
        ),
    )
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
"""Refused by name, too: through a proxy we do not see what they resolve to."""

_IPV4_AT_THE_END = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 within one network
        ),
    )
)


def is_refused(address: Address) -> bool:
    """Whether ``address`` is link-local or a cloud's metadata service, also when wrapped into IPv6."""
    return any(reading in network for reading in _readings(address) for network in _REFUSED_NETWORKS)


def check_host(host: str) -> None:
    """Raises `AddressRefusedError` if ``host`` spells a refused address, in whatever notation, or names one."""
    address = literal_address(host)
    if address is not None and is_refused(address):
        raise _refusal(host, address)
    if host.rstrip(".").lower() in _METADATA_NAMES:
        raise AddressRefusedError(f"{host} is a cloud's metadata service, which requests may not reach")


def literal_address(host: str) -> Address | None:
    """The address that ``host`` spells, if any: also as ``2852039166``, ``0xa9fea9fe.`` or ``[fe80::1%eth0]``."""
    bare = host.rstrip(".").strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None


class GuardedResolver(AbstractResolver):
    """Resolves names by ``inner``; a name of which any address is refused does not resolve at all."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host``. Raises `AddressRefusedError`, or `OSError` as ``inner`` does."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            address = literal_address(result["host"])
            if address is not None and is_refused(address):
                raise _refusal(host, address)
        return results

    async def close(self) -> None:
        """Closes ``inner``."""
        await self._inner.close()


def _readings(address: Address) -> list[Address]:
    """``address``, and the IPv4 addresses that one of the ways to write them in IPv6 hides in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    hidden = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _IPV4_AT_THE_END):
        hidden.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(a for a in hidden if a is not None)]


def _refusal(host: str, address: Address) -> AddressRefusedError:
    spelled = "" if host.strip("[]") == str(address) else f" ({address})"
    return AddressRefusedError(
        f"{host}{spelled} is a link-local or cloud metadata address, which requests may not reach"
    )
