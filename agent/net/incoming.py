"""The head of an answer, and the way to its body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
import httpx

from agent.net.errors import CONNECTION_FAILURES, UnreadableError, exchange_failure
from agent.time_limit import TimeLimit

_CHUNK_BYTES = 16 * 1024
"""Answers are handed on in pieces of this size: what httpx inflates at once stays small, whatever the answer is."""


class Incoming:
    """The head of an answer. `read` it, or `close` it: until then it has its connection for itself.

    ``headers`` finds names regardless of case. ``read_s`` bounds each silence of the server while it is read. Once
    closed it is not to be read.
    """

    def __init__(
        self,
        status: int,
        phrase: str | None,
        headers: Mapping[str, str],
        raw_headers: tuple[tuple[bytes, bytes], ...],
        *,
        content: aiohttp.StreamReader,
        close: Callable[[], None],
        place: str,
        read_s: float | None,
    ) -> None:
        self.status = status
        self.phrase = (phrase or "").encode("ascii", "ignore").decode()
        """What the server calls the status, as far as it is ASCII."""
        self.headers = headers
        self.raw_headers = raw_headers
        self.content = content
        """The body, still encoded; `piece` reads it."""
        self.close = close
        """Closes the answer, and its connection unless it was read to its end. Idempotent."""
        self.place = place
        self._read_s = read_s

    async def read(self, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """The body, decoded, ``max_bytes`` of it at most, and whether there was more; closes the answer.

        Raises `httpx.TransportError`, also for a body that is not in the encoding that it claims.
        """
        try:
            if "Content-Encoding" in self.headers:
                return await self._read_inflated(max_bytes)
            return await self._read_plain(max_bytes)
        finally:
            self.close()

    async def piece(self) -> bytes:
        """The next piece of the body, still encoded; empty at its end. Raises `httpx.TransportError`."""
        try:
            if self.content.is_eof():  # nearly always: a short answer came with its head
                return await self.content.read(_CHUNK_BYTES)
            # aiohttp's own time-out does not see a body that breaks off in the middle of its framing.
            with TimeLimit.after(self._read_s):
                return await self.content.read(_CHUNK_BYTES)
        except CONNECTION_FAILURES as error:
            raise exchange_failure(error, self.place) from error

    async def _read_plain(self, max_bytes: int | None) -> tuple[bytes, bool]:
        body = await self.piece()
        if not body or self.content.at_eof():
            return (body, False) if max_bytes is None else (body[:max_bytes], len(body) > max_bytes)
        whole = bytearray(body)
        while (max_bytes is None or len(whole) <= max_bytes) and (body := await self.piece()):
            whole += body
        return bytes(whole[:max_bytes]), max_bytes is not None and len(whole) > max_bytes

    async def _read_inflated(self, max_bytes: int | None) -> tuple[bytes, bool]:
        """By httpx, which knows every encoding that is asked for."""
        response = httpx.Response(self.status, headers=list(self.raw_headers), stream=BodyStream(self))
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if max_bytes is not None and len(body) > max_bytes:
                    await response.aclose()  # which ends the iteration
        except httpx.DecodingError as error:
            raise UnreadableError(f"the answer is not in the encoding that it claims: {error}") from error
        cut = max_bytes is not None and len(body) > max_bytes
        return bytes(body[:max_bytes]), cut


class BodyStream(httpx.AsyncByteStream):
    """The body of an answer, still encoded. Read to its end it gives the connection back, else it closes it."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces, still encoded."""
        while piece := await self._incoming.piece():
            yield piece
            if self._closed:
                return

    async def aclose(self) -> None:
        """Closes the answer."""
        # Closed by its own reader, the iteration ends instead of failing: whoever has read enough closes and reads
        # on to the end, for breaking off would leave httpx's nested generators to the garbage collector.
        self._closed = True
        self._incoming.close()
