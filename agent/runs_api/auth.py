"""The access token: one for the whole process, fetched when it is needed and never by two callers at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from agent.domain.events import TokenRefreshed
from agent.domain.json import as_object
from agent.domain.retry import Backoff, is_transient, server_wait_s
from agent.ports import Clock, Observer
from agent.runs_api.exchange import Exchange, NoReplyError, Reply, quoted
from agent.runs_api.wire import access_token, read_token

_MARGIN_S = 60.0
_MARGIN_SHARE = 0.1
"""A token is renewed this long before its end: the smaller of the two."""
_MIN_LIFETIME_S = 1.0
_REFUSED = frozenset({401, 403})
"""What says that credentials are wrong. Any other final answer says nothing of them, such as a wrong host's 404."""
_MIN_AGE_S = 5.0
"""A second token is not asked for sooner because of a 401: one that is new and refused is not too old."""


class TokenUnavailableError(Exception):
    """There is no token to be had now. ``refusal`` is the final no, ``None`` if it may pass by itself.

    It makes no sense to ask again within ``retry_in_s``.
    """

    def __init__(self, reason: str, retry_in_s: float, refusal: Reply | None) -> None:
        super().__init__(reason)
        self.retry_in_s = retry_in_s
        self.refusal = refusal


class AccessTokens:
    """Keeps the token. For each new one ``client_id`` and ``client_secret`` are called: they may be rotated.

    However many ask, one request is under way at a time, and after a failure none for a growing while:
    the token's route allows a hundred requests in five minutes.
    """

    def __init__(
        self,
        exchange: Exchange,
        client_id: Callable[[], str],
        client_secret: Callable[[], str],
        observer: Observer,
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._exchange = exchange
        self._client_id = client_id
        self._client_secret = client_secret
        self._observer = observer
        self._clock = clock
        self._backoff = backoff
        self._token: str | None = None
        self._renew_at_s = self._ends_at_s = self._keep_until_s = 0.0
        self._problem: TokenUnavailableError | None = None
        self._failures = 0
        self._ask_again_at_s = 0.0
        self._refresh: asyncio.Task[None] | None = None

    async def get(self) -> str:
        """A token that should be good. Raises `TokenUnavailableError`. Cancelling a caller hurts no other."""
        now_s = self._clock.monotonic()
        if (self._token is None or now_s >= self._renew_at_s) and now_s >= self._ask_again_at_s:
            refresh = self._refresh
            if refresh is None:
                refresh = self._refresh = asyncio.create_task(self._fetch(), name="access-token")
            await asyncio.wait({refresh})
            if not refresh.cancelled():
                refresh.result()
            now_s = self._clock.monotonic()
        if self._token is not None and now_s < self._ends_at_s:
            return self._token
        problem = self._problem
        reason = "there is no access token that lasts" if problem is None else str(problem)
        refusal = None if problem is None else problem.refusal
        raise TokenUnavailableError(reason, max(0.0, self._ask_again_at_s - now_s), refusal)

    def reject(self, token: str) -> None:
        """Says that Port refused ``token``. Of no effect if it was replaced since, or is brand-new."""
        now_s = self._clock.monotonic()
        if token == self._token and now_s >= self._keep_until_s:
            self._token = None
            self._keep_until_s = now_s + _MIN_AGE_S

    async def close(self) -> None:
        """Ends a refresh that is under way: whoever waits for it has no token, but is not cancelled. Idempotent."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    async def _fetch(self) -> None:
        asked_at_s = self._clock.monotonic()
        secret = ""
        try:
            secret = self._client_secret()
            reply = await self._exchange.once(access_token(self._client_id(), secret), None)
        except (NoReplyError, OSError) as error:  # OSError: the secret's file could not be read
            self._failed(None, quoted(str(error), secret))
        else:
            self._take(reply, asked_at_s, secret)
        finally:
            self._refresh = None

    def _take(self, reply: Reply, asked_at_s: float, secret: str) -> None:
        token = read_token(reply.body) if reply.ok else None
        if token is None:
            final = 400 <= reply.status_code < 500 and not is_transient(reply.status_code)
            self._failed(reply, _said(reply, secret), is_final=final)
            return
        lifetime_s = max(_MIN_LIFETIME_S, token.lifetime_s)
        self._token = token.value
        self._ends_at_s = asked_at_s + lifetime_s
        self._renew_at_s = self._ends_at_s - min(_MARGIN_S, _MARGIN_SHARE * lifetime_s)
        self._failures, self._ask_again_at_s, self._problem = 0, 0.0, None
        self._observer.notify(TokenRefreshed("ok"))

    def _failed(self, reply: Reply | None, said: str, *, is_final: bool = False) -> None:
        self._failures += 1
        wait_s = self._backoff.wait_s(self._failures, random.random())  # noqa: S311 - jitter, no secret
        if reply is not None:
            asked_s = server_wait_s(reply.headers, reply.at_epoch_s, throttled=reply.status_code == 429)
            wait_s = max(wait_s, asked_s or 0.0)
        self._ask_again_at_s = self._clock.monotonic() + wait_s
        self._problem = TokenUnavailableError(f"no access token: {said}", wait_s, reply if is_final else None)
        result = "refused" if reply is not None and reply.status_code in _REFUSED else "error"
        detail = self._exchange.told(access_token("", ""), said)
        self._observer.notify(TokenRefreshed(result, detail))


def _said(reply: Reply, secret: str) -> str:
    """Why there is no token in this answer; an answer that has one, but in a form unknown to us, is not quoted."""
    if reply.ok or "accessToken" in as_object(reply.body):
        return f"HTTP {reply.status_code}: the answer does not have the documented form"
    return quoted(f"HTTP {reply.status_code}: {reply.message}", secret)
