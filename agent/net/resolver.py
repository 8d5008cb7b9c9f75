"""Turns names into addresses as the system does."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from agent.threads import in_thread

_IN_NUMBERS = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class SystemResolver(AbstractResolver):
    """Asks the system, in a thread for each question: however many others block, none waits for a free one."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host``. Raises `OSError` if there are none."""
        return await in_thread(partial(_resolve, host, port, family), f"resolve {host}")

    async def close(self) -> None:
        """Nothing to free."""


def _resolve(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [_result(host, family, proto, address) for family, _, proto, _, address in found]


def _result(host: str, family: int, proto: int, address: Any) -> ResolveResult:
    """In numbers, with the zone of an address that needs one."""
    number, port = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return ResolveResult(hostname=host, host=number, port=int(port), family=family, proto=proto, flags=_IN_NUMBERS)
