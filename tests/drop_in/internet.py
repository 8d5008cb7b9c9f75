"""Every host that the agent calls, played by one forward proxy: no request leaves this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import trustme

from agent.domain.json import Json, JsonObject

SILENT = "silent.example"
"""The host that takes requests and never answers."""
IMPOSTOR = "impostor.example"
"""The host whose certificate nobody vouches for."""


@dataclass(frozen=True)
class Received:
    """One request. ``url`` is whole, with scheme and host, as it was asked for; names of headers are as sent."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The parameters; of one that is repeated, the last."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def all(self, name: str) -> list[str]:
        """The values of the headers of this name, in any case."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def header(self, name: str) -> str:
        """The value of the only header of this name."""
        (value,) = self.all(name)
        return value

    @property
    def json(self) -> Json:
        """The body, ``None`` where there is none."""
        value: Json = json.loads(self.body) if self.body else None
        return value


@dataclass(frozen=True)
class Answer:
    """What a host says; by default as the recorded cases write it."""

    status: int = 200
    body: str = '{"ok": true}'
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    @classmethod
    def recorded(cls, raw: JsonObject) -> Self:
        """From ``webhook_response`` of a case."""
        headers: Any = raw["headers"]
        return cls(int(str(raw["status"])), str(raw["body"]), headers)

    def on_the_wire(self) -> bytes:
        body = self.body.encode()
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{name}: {value}" for name, value in self.headers.items())]
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Internet:
    """A proxy for http (absolute urls) and https (CONNECT, certificates of ``authority``), and an https server.

    All hosts answer ``answer``, but for those that ``answers`` names, by host and path, and those that this
    module names.
    """

    authority: trustme.CA
    answer: Answer = field(default_factory=Answer)
    answers: dict[str, Answer] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    proxy_url: str = ""
    https_url: str = ""
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def serve(cls, authority: trustme.CA) -> AsyncIterator[Self]:
        """Listening on loopback until the block ends."""
        internet = cls(authority)
        proxy = await asyncio.start_server(internet._talk, "127.0.0.1", 0)
        tls = internet._context("127.0.0.1")
        server = await asyncio.start_server(internet._talk_as_server, "127.0.0.1", 0, ssl=tls)
        internet.proxy_url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        internet.https_url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield internet
        finally:
            proxy.close()
            server.close()
            for task in internet._tasks:
                task.cancel()
            await asyncio.gather(*internet._tasks, return_exceptions=True)

    def to(self, part_of_url: str) -> list[Received]:
        """The requests whose url holds this."""
        return [request for request in self.received if part_of_url in request.url]

    async def _talk_as_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._talk(reader, writer, self.https_url)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, base: str = "") -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while True:
                    base = await self._exchange(reader, writer, base)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, base: str) -> str:
        """One request with its answer. Returns what the paths of further requests are to be put after."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await writer.drain()
            host = target.rpartition(":")[0]
            await writer.start_tls(self._context(host))
            return "https://" + target.removesuffix(":443")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        body = await reader.readexactly(length)
        request = Received(method, base + target, tuple(headers), body)
        self.received.append(request)
        parts = urlsplit(request.url)
        if parts.hostname == SILENT:
            await asyncio.Event().wait()
        answer = self.answers.get(f"{parts.hostname}{parts.path}", self.answer)
        writer.write(answer.on_the_wire())
        await writer.drain()
        return base

    def _context(self, host: str) -> ssl.SSLContext:
        if host not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            issuer = trustme.CA() if host == IMPOSTOR else self.authority
            issuer.issue_cert(host).configure_cert(context)
            self._contexts[host] = context
        return self._contexts[host]
