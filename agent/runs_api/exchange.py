"""One request over the wire and its answer, or why there is none; told to observers either way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode

import httpx
from yarl import URL

from agent.domain.events import ApiRequested
from agent.domain.json import Json, compact
from agent.domain.redaction import Redactor
from agent.domain.retry import server_epoch_s
from agent.net.errors import UnreadableError, never_sent
from agent.net.outgoing import Outgoing, Timeouts, wire_url
from agent.net.shown import shown_url
from agent.ports import Clock, Observer
from agent.runs_api.wire import Request, excerpt, read_message


@dataclass(frozen=True, slots=True)
class Reply:
    """Port's answer. ``maybe_repeated``: an earlier attempt at the same request may have been applied, too.

    ``message`` says why Port refused; it is empty where Port did as it was asked. ``at_epoch_s`` is the time by
    Port's clock, or by ours where the answer does not tell it; ``server_epoch_s`` is ``None`` then.
    """

    status_code: int
    headers: Mapping[str, str]
    body: Json
    message: str
    at_epoch_s: float
    server_epoch_s: float | None
    maybe_repeated: bool = False

    @property
    def ok(self) -> bool:
        """Whether Port did as it was asked."""
        return 200 <= self.status_code < 300


class NoReplyError(Exception):
    """No usable answer came. ``word`` is a metric label; ``maybe_applied``: the request may have arrived."""

    def __init__(self, word: str, detail: str, *, maybe_applied: bool) -> None:
        super().__init__(detail)
        self.word = word
        self.maybe_applied = maybe_applied


def quoted(said: str, *secrets: str) -> str:
    """What the other side said, as one line of bounded length; ``secrets`` that it repeats are masked."""
    return excerpt(" ".join(Redactor(secrets).mask_text(said).split()))


class Answered(Protocol):
    """The head of an answer, as `agent.net.incoming.Incoming` is one."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Finds names regardless of case."""
        ...

    async def read(self, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """The body, and whether it was cut."""
        ...


class Http(Protocol):
    """What is asked of a client, as `agent.net.client.Client` is one."""

    @property
    def own_headers(self) -> Sequence[tuple[str, str]]:
        """What goes with every request."""
        ...

    async def exchange(self, request: Outgoing) -> Answered:
        """Sends a request and returns with the head of the answer. Raises `httpx.TransportError`."""
        ...


class Exchange:
    """The API behind ``base_url``, with or without a slash or ``/v1`` at its end. Borrows ``http``.

    ``attempt_timeout_s`` bounds each silence within one attempt; making the connection has ``connect_timeout_s``.
    """

    def __init__(
        self,
        http: Http,
        base_url: str,
        observer: Observer,
        clock: Clock,
        *,
        attempt_timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        self._http = http
        self._root = base_url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
        self._wire_root = str(wire_url(httpx.URL(self._root))).rstrip("/")
        self._observer = observer
        self._clock = clock
        self._timeouts = Timeouts(connect_timeout_s, attempt_timeout_s, attempt_timeout_s)

    def told(self, request: Request, said: str) -> str:
        """``said`` with the request that it is about, such as ``POST https://…/v1/auth/access_token: HTTP 401: …``.

        Neither query nor credentials of the address are shown, nor the names in the path.
        """
        return f"{request.method} {shown_url(httpx.URL(self._root)).rstrip('/')}{request.route}: {said}"

    async def once(self, request: Request, token: str | None, is_over: Callable[[], bool] = lambda: False) -> Reply:
        """Sends the request once. Raises `NoReplyError`. A cancelled one may have been applied.

        ``is_over`` tells of a cancellation whether it came because the time was up: that is no answer in time, and
        is told as such; that somebody wants none any more says nothing of Port.
        """
        began_s = self._clock.monotonic()
        code = "cancelled"
        try:
            reply = self._read(*await self._send(request, token))
            code = str(reply.status_code)
        except NoReplyError as error:
            code = error.word
            raise
        except asyncio.CancelledError:
            code = "timeout" if is_over() else "cancelled"
            raise
        finally:
            took_s = self._clock.monotonic() - began_s
            self._observer.notify(ApiRequested(request.route, request.method, code, took_s))
        return reply

    async def _send(self, request: Request, token: str | None) -> tuple[Answered, bytes]:
        headers = [*self._http.own_headers, *request.headers.items()]
        if token is not None:
            headers.append(("Authorization", f"Bearer {token}"))
        content = None
        if request.body is not None:
            content = compact(request.body).encode()
            headers.append(("Content-Type", "application/json"))
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        url = URL(f"{self._wire_root}{request.path}{query}", encoded=True)
        try:
            answer = await self._http.exchange(Outgoing(request.method, url, headers, content, self._timeouts))
            return answer, (await answer.read())[0]
        except httpx.TransportError as error:
            detail = str(error) or type(error).__name__
            raise NoReplyError(_word(error), detail, maybe_applied=not never_sent(error)) from error

    def _read(self, answer: Answered, raw: bytes) -> Reply:
        text = raw.decode("utf-8", "replace")
        try:
            body: Json = json.loads(text) if text else None
        except ValueError:
            if 200 <= answer.status < 300:  # some proxy's page: nobody knows what Port made of the request
                raise NoReplyError("unreadable", "the answer is no JSON", maybe_applied=True) from None
            body = None
        server_s = server_epoch_s(answer.headers)
        return Reply(
            status_code=answer.status,
            headers=answer.headers,
            body=body,
            message="" if 200 <= answer.status < 300 else read_message(body, text),
            at_epoch_s=self._clock.epoch() if server_s is None else server_s,
            server_epoch_s=server_s,
        )


def _word(error: httpx.TransportError) -> str:
    if isinstance(error, UnreadableError):
        return "unreadable"
    return "timeout" if isinstance(error, httpx.TimeoutException) else "connection"
