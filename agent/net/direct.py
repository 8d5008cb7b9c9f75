"""The short way of small requests: over aiohttp's connections and parser, without its requests and answers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Collection
from typing import TypeGuard

import aiohttp
import httpx
from aiohttp.client import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from agent.net.errors import CONNECTION_FAILURES, connect_failure, exchange_failure
from agent.net.incoming import Incoming
from agent.net.outgoing import Outgoing
from agent.time_limit import TimeLimit

MAX_HEADER_BYTES = 64 * 1024
"""Of an answer: each line."""
_SMALL_BODY_BYTES = 48 * 1024
"""Fits what a socket buffers: it is written at once, and the time for the answer begins."""
_NO_BODY_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
NO_TIMEOUT = ClientTimeout(total=None)
"""For aiohttp, whose own may take up to a second longer than ours."""


def is_small(body: object) -> TypeGuard[bytes | None]:
    """Whether a request with this body may go the short way."""
    return body is None or (isinstance(body, bytes) and len(body) <= _SMALL_BODY_BYTES)


class DirectWay:
    """The way to one server. Guarantees what `AiohttpTransport` does."""

    def __init__(self, url: URL, place: str, connector: aiohttp.TCPConnector) -> None:
        self._connector = connector
        self._place = place
        self._host = url.raw_authority
        self._asks = ClientRequest("GET", url.origin(), loop=asyncio.get_running_loop())
        """Never sent: it tells the connector where to."""

    async def exchange(self, request: Outgoing, body: bytes | None, names: Collection[str]) -> Incoming:
        """Sends ``request`` and returns with the head of the answer. Raises `httpx.TransportError`.

        ``names`` are those of its headers, in lower case.
        """
        written = self._written(request, body, names)
        timeouts, loop = request.timeouts, asyncio.get_running_loop()
        connection: Connection | None = None
        try:
            with TimeLimit.after(timeouts.connect_s) as limit:
                connection = await self._connector.connect(self._asks, [], NO_TIMEOUT)
                answer_s = timeouts.after_connect_s
                limit.move(None if answer_s is None else loop.time() + answer_s)
                return await self._answered(connection, request, written)
        except TimeoutError as error:
            if connection is None:
                raise connect_failure(error, self._place) from error
            raise httpx.ReadTimeout(f"{self._place} did not answer in time") from None

    async def _answered(self, connection: Connection, request: Outgoing, written: bytes) -> Incoming:
        try:
            protocol = connection.protocol
            if protocol is None or protocol.transport is None:
                raise ConnectionResetError(errno.ECONNRESET, "closed as it was taken")  # noqa: TRY301 - see below
            protocol.set_response_params(
                skip_payload=request.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=request.timeouts.read_s,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
            protocol.transport.write(written)
            protocol.start_timeout()
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
        except CONNECTION_FAILURES as error:
            connection.close()
            raise exchange_failure(error, self._place) from error
        except HttpProcessingError as error:
            connection.close()
            raise httpx.RemoteProtocolError(f"{self._place} does not answer in HTTP/1.1") from error
        except BaseException:
            connection.close()
            raise
        content.on_eof(connection.release)
        return Incoming(
            message.code,
            message.reason,
            message.headers,
            message.raw_headers,
            content=content,
            close=connection.close,
            place=self._place,
            read_s=request.timeouts.read_s,
        )

    def _written(self, request: Outgoing, body: bytes | None, names: Collection[str]) -> bytes:
        """The request as bytes."""
        lines = [f"{request.method} {request.url.raw_path_qs} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {self._host}")
        lines += [f"{name}: {value}" for name, value in request.headers]
        if "content-length" not in names and (body is not None or request.method not in _NO_BODY_METHODS):
            lines.append(f"Content-Length: {len(body or b'')}")
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
