"""One request over the wire and its answer, or why there is none; told to observers either way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from agent.domain.events import ApiRequested
from agent.domain.json import Json, compact
from agent.domain.redaction import Redactor
from agent.domain.retry import server_epoch_s
from agent.net.errors import never_sent
from agent.net.shown import shown_url
from agent.ports import Clock, Observer
from agent.runs_api.wire import Request, excerpt, read_message


@dataclass(frozen=True, slots=True)
class Reply:
    """Port's answer. ``maybe_repeated``: an earlier attempt at the same request may have been applied, too.

    ``at_epoch_s`` is the time by Port's clock, or by ours where the answer does not tell it; ``server_epoch_s``
    is ``None`` then.
    """

    status_code: int
    headers: httpx.Headers
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


class Exchange:
    """The API behind ``base_url``, with or without a slash or ``/v1`` at its end. Borrows ``http``.

    ``attempt_timeout_s`` bounds each silence within one attempt; making the connection has ``connect_timeout_s``.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        observer: Observer,
        clock: Clock,
        *,
        attempt_timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        self._http = http
        self._root = base_url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
        self._observer = observer
        self._clock = clock
        self._timeout = httpx.Timeout(attempt_timeout_s, connect=connect_timeout_s)

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
            reply = self._read(await self._send(request, token))
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

    async def _send(self, request: Request, token: str | None) -> httpx.Response:
        headers = dict(request.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = None
        if request.body is not None:
            content = compact(request.body).encode()
            headers["Content-Type"] = "application/json"
        try:
            return await self._http.request(
                request.method,
                self._root + request.path,
                params=dict(request.query) or None,
                content=content,
                headers=headers,
                timeout=self._timeout,
            )
        except httpx.TransportError as error:
            word = "timeout" if isinstance(error, httpx.TimeoutException) else "connection"
            detail = str(error) or type(error).__name__
            raise NoReplyError(word, detail, maybe_applied=not never_sent(error)) from error
        except httpx.RequestError as error:  # an answer that cannot be read, such as broken gzip
            raise NoReplyError("unreadable", str(error), maybe_applied=True) from error

    def _read(self, response: httpx.Response) -> Reply:
        text = response.text
        try:
            body: Json = json.loads(text) if text else None
        except ValueError:
            if response.is_success:  # some proxy's page: nobody knows what Port made of the request
                raise NoReplyError("unreadable", "the answer is no JSON", maybe_applied=True) from None
            body = None
        server_s = server_epoch_s(response.headers)
        return Reply(
            status_code=response.status_code,
            headers=response.headers,
            body=body,
            message=read_message(body, text),
            at_epoch_s=self._clock.epoch() if server_s is None else server_s,
            server_epoch_s=server_s,
        )
