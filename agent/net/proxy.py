"""Which proxy a request goes through, by the usual environment variables."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from agent.domain.errors import ConfigurationError, Problem
from agent.net.guard import Address, literal_address

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: ``url`` without credentials, and the value of ``Proxy-Authorization`` if it has some."""

    url: str
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of ``NO_PROXY``: a network, or a name with all names below it; ``port`` ``None`` is any."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    name: str
    port: int | None

    def covers(self, host: str, address: Address | None, port: int) -> bool:
        """Whether a request to ``host`` (``address`` if it spells one) goes without a proxy."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return self.name in ("*", host) or host.endswith("." + self.name)


class ProxyRules:
    """``HTTP_PROXY, HTTPS_PROXY, ALL_PROXY`` and ``NO_PROXY`` (lower case wins), read once. Immutable.

    A lower-case name that is empty means no such proxy, whatever the upper-case one says: as with Port's own agent.
    ``NO_PROXY`` is a list by commas: ``*``; a name, with or without a leading dot, which stands for all names
    below it, too; an address; a network (``10.0.0.0/8``); each with ``:port`` if wanted. Loopback addresses and
    ``localhost`` are never reached by a proxy. Raises `ConfigurationError` for a proxy that can't be used.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # ALL_PROXY is looked at only where it counts: it may be a kind that is not for us.
        self._by_scheme = {
            "http": _proxy(environment, "HTTP_PROXY") or _proxy(environment, "ALL_PROXY"),
            "https": _proxy(environment, "HTTPS_PROXY") or _proxy(environment, "ALL_PROXY"),
        }
        exceptions = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        entries = exceptions.replace(" ", ",").split(",")
        self._exceptions = [_exception(entry) for entry in entries if entry]

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """The proxy for a request to ``url``, ``None`` if it goes straight."""
        proxy = self._by_scheme.get(url.scheme)
        if proxy is None:
            return None
        host = url.raw_host.decode("ascii").rstrip(".").lower()
        address = literal_address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return None
        port = url.port or _PORTS[url.scheme]
        return None if any(e.covers(host, address, port) for e in self._exceptions) else proxy


def _proxy(environment: Mapping[str, str], name: str) -> Proxy | None:
    value = environment.get(name.lower(), environment.get(name, "")).strip()
    if not value:
        return None
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except httpx.InvalidURL:
        raise ConfigurationError(Problem(name, "is not a URL", hint="write http://host:port")) from None
    if url.scheme not in _PORTS or not url.host:
        message = f"{url.scheme}:// proxies cannot be used" if url.host else "names no host"
        raise ConfigurationError(Problem(name, message, hint="write http://host:port or https://host:port"))
    authorization = None
    if url.userinfo:
        credentials = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
        authorization = f"Basic {credentials}"
    return Proxy(f"{url.scheme}://{url.netloc.decode('ascii')}", authorization)


def _exception(entry: str) -> _Exception:
    entry = entry.lower()
    network = _network(entry)
    if network is not None:
        return _Exception(network, "", None)
    name, _, port = entry.rpartition(":")
    if not port.isdigit():
        name, port = entry, ""
    return _Exception(_network(name), name.lstrip(".").removeprefix("*."), int(port) if port else None)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
