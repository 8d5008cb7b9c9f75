"""Sends a request until Port has answered it: retries, the token, the budget, and a deadline that can shrink."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from agent.domain.events import ApiRetried
from agent.domain.retry import Backoff, is_transient, server_wait_s
from agent.ports import Clock, Observer
from agent.runs_api.auth import AccessTokens, TokenUnavailableError
from agent.runs_api.budget import RequestBudget
from agent.runs_api.exchange import Exchange, NoReplyError, Reply, quoted
from agent.runs_api.pace import Pace
from agent.runs_api.turns import Turns
from agent.runs_api.wire import Request
from agent.time_limit import TimeLimit

_BACKOFF = Backoff(first_s=0.5, cap_s=8.0, jitter=0.5)
"""Capped well below the time that a stopping agent leaves for its last reports: nobody sleeps through it."""
_TOKEN_BACKOFF = Backoff(first_s=1.0, cap_s=30.0)
_NO_TURN = "its turn did not come in time: Port allows few requests (HTTP 429)"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How patient requests are. Times in seconds.

    ``attempt_timeout_s`` bounds each silence of the server, ``max_server_wait_s`` how long its wish to be left
    alone is honoured, ``yield_s`` how long a request that can wait is held back, if enough are left for that;
    see `agent.runs_api.pace`.
    """

    backoff: Backoff = _BACKOFF
    token_backoff: Backoff = _TOKEN_BACKOFF
    attempt_timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    max_server_wait_s: float = 300.0
    yield_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Port gave no final answer in the time there was; ``reason`` is the last thing that went wrong.

    ``wait_s``: for so long it wants to be left alone, as far as it says so.
    """

    reason: str
    wait_s: float = 0.0


Answer = Reply | Unanswered


class Deadline:
    """One end of time for many scopes, which may be drawn nearer while they run."""

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._scopes: set[TimeLimit] = set()

    def left_s(self) -> float | None:
        """Seconds until the end; ``None`` while there is none."""
        return None if self._at_s is None else max(0.0, self._at_s - asyncio.get_running_loop().time())

    def shorten(self, timeout_s: float) -> None:
        """Everything open, and everything opened later, ends in ``timeout_s`` at the latest."""
        at_s = asyncio.get_running_loop().time() + timeout_s
        self._at_s = at_s if self._at_s is None else min(self._at_s, at_s)
        for scope in self._scopes:
            if scope.at_s is None or scope.at_s > self._at_s:
                scope.move(self._at_s)

    def scope(self, timeout_s: float | None) -> Scope:
        """A scope that ends with the deadline, or after ``timeout_s`` if that comes first."""
        ends_s = [self._at_s] if self._at_s is not None else []
        if timeout_s is not None:
            ends_s.append(asyncio.get_running_loop().time() + timeout_s)
        return Scope(min(ends_s, default=None), self._scopes)


class Scope(TimeLimit):
    """Made by `Deadline.scope`, which may draw its end nearer as long as it is open."""

    __slots__ = ("_open_scopes",)

    def __init__(self, at_s: float | None, open_scopes: set[TimeLimit]) -> None:
        super().__init__(at_s)
        self._open_scopes = open_scopes

    def __enter__(self) -> Self:
        """Itself."""
        super().__enter__()
        self._open_scopes.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises `TimeoutError` in place of the cancellation that the end brought about."""
        self._open_scopes.discard(self)
        super().__exit__(kind, error, trace)


class _TryAgainError(Exception):
    def __init__(self, wait_s: float, asked_s: float | None = None) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s
        self.asked_s = asked_s


@dataclass(slots=True)
class _Trail:
    """What happened to one request so far."""

    attempts: int = 0
    maybe_applied: bool = False
    renewed_token: bool = False
    can_wait: bool = False
    until: asyncio.Event | None = None
    is_over: Callable[[], bool] = lambda: False
    """Whether the time that there was for it is over."""
    last: str = "there was no time left to ask"


class Connection:
    """The way to Port's API that all requests share. Belongs to the event loop's thread."""

    def __init__(
        self,
        exchange: Exchange,
        tokens: AccessTokens,
        observer: Observer,
        clock: Clock,
        limits: RequestLimits,
    ) -> None:
        self._exchange = exchange
        self._tokens = tokens
        self._observer = observer
        self._clock = clock
        self._limits = limits
        self._budget = RequestBudget()
        self._pace = Pace(limits.yield_s)
        self._turns: Turns | None = None
        """Where requests wait for their turn; ``None`` until Port has told of a limit or refused for one."""
        self.deadline = Deadline()

    def budget_is_low(self) -> bool:
        """Whether requests that can wait should wait."""
        return self._budget.low_for_s(self._clock.monotonic()) > 0

    async def send(
        self,
        request: Request,
        *,
        can_wait: bool = False,
        until: asyncio.Event | None = None,
        patient: bool = True,
        once: bool = False,
        timeout_s: float | None = None,
    ) -> Answer:
        """Sends until there is a final answer: 2xx, or a 4xx other than 401, 408 and 429.

        Ends early, with `Unanswered`, only at the deadline or after ``timeout_s``. ``can_wait``: lets others go
        first where the budget is small (`agent.runs_api.pace`), but not once ``until`` is set. Not ``patient``:
        refused credentials are a final answer, too; else they are tried again, because what is to be told would be
        lost otherwise. ``once``: what would be tried again after a wait is `Unanswered`, too, for callers that pace
        themselves. Never raises but when cancelled; then the request may have been applied.
        """
        trail = _Trail(can_wait=can_wait, until=until)
        try:
            with self.deadline.scope(timeout_s) as scope:
                trail.is_over = lambda: scope.expired
                if once:
                    return await self._once(request, trail, patient=patient)
                return await self._persist(request, trail, patient=patient)
        except TimeoutError:
            return Unanswered(trail.last)

    async def _once(self, request: Request, trail: _Trail, *, patient: bool) -> Answer:
        """A token that is refused is renewed all the same."""
        while True:
            try:
                return await self._attempt(request, trail, patient=patient)
            except _TryAgainError as error:
                if error.wait_s > 0:
                    return Unanswered(trail.last, error.asked_s or 0.0)

    async def _persist(self, request: Request, trail: _Trail, *, patient: bool) -> Reply:
        while True:
            try:
                return await self._attempt(request, trail, patient=patient)
            except _TryAgainError as error:
                wait_s = error.wait_s
            await asyncio.sleep(wait_s)

    async def _attempt(self, request: Request, trail: _Trail, *, patient: bool) -> Reply:
        turns, looks = self._turns, False
        if turns is not None and not request.counted_apart:
            if not trail.attempts:
                trail.last = _NO_TURN
            looks = await turns.take(can_wait=trail.can_wait, until=trail.until)
        trail.attempts += 1
        if trail.attempts == 1:  # later the deadline tells less than what went wrong before
            trail.last = "no answer in time"
        try:
            token = await self._tokens.get()
        except TokenUnavailableError as error:
            if error.refusal is not None and not patient:
                return error.refusal
            raise self._again(request, trail, "token", str(error), error.retry_in_s) from error
        try:
            reply = await self._exchange.once(request, token, trail.is_over)
        except NoReplyError as error:
            trail.maybe_applied |= error.maybe_applied
            raise self._again(request, trail, error.word, quoted(str(error), token)) from error
        if not request.counted_apart:
            self._note_budget(reply, looked=looks)
        return self._judge(request, reply, trail, token, patient=patient)

    def _judge(self, request: Request, reply: Reply, trail: _Trail, token: str, *, patient: bool) -> Reply:
        code = reply.status_code
        if code == 401 and (patient or not trail.renewed_token):
            self._tokens.reject(token)
            again = self._again(request, trail, "token", _said(reply, token))
            if not trail.renewed_token:
                trail.renewed_token, again.wait_s = True, 0.0
            raise again
        if reply.ok or (400 <= code < 500 and not is_transient(code)):
            return replace(reply, maybe_repeated=True) if trail.maybe_applied else reply
        trail.maybe_applied |= code >= 500
        asked_s = server_wait_s(reply.headers, reply.at_epoch_s, throttled=code == 429)
        again = self._again(request, trail, f"status_{code}", _said(reply, token), asked_s)
        if code == 429 and not request.counted_apart:
            self._pace.refused(again.wait_s, self._clock.monotonic())
            self._queue().changed()
        raise again

    def _again(
        self, request: Request, trail: _Trail, word: str, said: str, asked_s: float | None = None
    ) -> _TryAgainError:
        """With our own wait, or the one that was asked for and a little more: not all shall come at once."""
        trail.last = said
        self._observer.notify(ApiRetried(request.route, word, self._exchange.told(request, said)))
        own_s = self._limits.backoff.wait_s(trail.attempts, random.random())  # noqa: S311 - jitter, no secret
        if asked_s is None:
            return _TryAgainError(own_s)
        honoured_s = min(asked_s, self._limits.max_server_wait_s)
        return _TryAgainError(max(own_s, honoured_s + own_s / 4), honoured_s)

    def _note_budget(self, reply: Reply, *, looked: bool) -> None:
        now_s = self._clock.monotonic()
        budget, window = self._budget.note(reply.headers, now_s, reply.at_epoch_s), self._budget.window
        if budget is not None:
            self._observer.notify(budget)
        elif self._turns is None:
            return
        if budget is not None and window is not None:
            self._pace.told(window)
        if reply.status_code != 429:
            self._pace.answered(now_s, looked=looked)
        self._queue().changed()

    def _queue(self) -> Turns:
        if self._turns is None:
            self._turns = Turns(self._pace, self._clock)
        return self._turns


def _said(reply: Reply, token: str) -> str:
    return quoted(f"HTTP {reply.status_code}: {reply.message}", token)
