"""The targets that http routes call, each with a breaker: one that is dead costs the others no slots."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import httpx

from agent.domain.events import TargetAnswered, TargetSilent
from agent.executors.http_breaker import Breaker, BreakerRule, Permit, Refusal
from agent.net.errors import AddressRefusedError, CertificateError
from agent.net.shown import shown_place
from agent.ports import Clock, Observer

MAX_TARGETS = 1_000
FORGOTTEN_AFTER_S = 600.0
_ERROR_CHARS = 300

_SAY_NOTHING = (
    AddressRefusedError,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.PoolTimeout,
)
"""Failures that are the agent's own verdict, over a target that may be well."""

_Key: TypeAlias = tuple[str, str, int | None]


class TargetSilentError(httpx.ConnectError):
    """Nothing was sent: the target has not answered for a while, and is left alone."""


@dataclass(slots=True)
class _Target:
    """A target since its last answer, for as long as somebody calls it."""

    place: str
    breaker: Breaker
    touched_s: float


@dataclass(slots=True)
class Attempt:
    """One request to a target. Says itself withdrawn where it ends without `answered` or `failed`."""

    _targets: Targets
    _key: _Key
    _target: _Target | None
    _permit: Permit = field(default_factory=Permit)

    def answered(self) -> None:
        """The target has begun to answer, whatever it says."""
        if self._target is not None:
            self._targets.answered(self._key)
        self._target = None

    def failed(self, error: httpx.TransportError) -> None:
        """The request failed; counts only where there was no answer, and the target is to blame."""
        if isinstance(error, CertificateError):
            self.answered()  # if not in a way that the agent trusts
        elif self._target is not None and not isinstance(error, _SAY_NOTHING):
            self._targets.failed(self._key, self._target, self._permit, str(error))
            self._target = None

    def withdrawn(self) -> None:
        """Nobody waits for an answer any more. Does nothing after one of the others."""
        if self._target is not None:
            self._target.breaker.withdrawn(self._permit)


class Targets:
    """Counts what each target (scheme, host, port) leaves without an answer, and refuses to call a dead one.

    Loop thread only. ``rule.failures`` 0 counts nothing. Knows at most `MAX_TARGETS`, and none that nobody has
    called for `FORGOTTEN_AFTER_S`: such a one begins anew.
    """

    def __init__(self, rule: BreakerRule, observer: Observer, clock: Clock) -> None:
        self._rule = rule
        self._observer = observer
        self._clock = clock
        self._known: OrderedDict[_Key, _Target] = OrderedDict()

    @contextmanager
    def attempt(self, url: httpx.URL) -> Iterator[Attempt]:
        """One attempt to call ``url``. Raises `TargetSilentError` at once where it is not to be made."""
        attempt = self._begin(url)
        try:
            yield attempt
        finally:
            attempt.withdrawn()

    def answered(self, key: _Key) -> None:
        """The target is alive: all that spoke against it is forgotten."""
        target = self._known.pop(key, None)
        if target is not None:
            self._tell_if_closed(target, answered=True)

    def failed(self, key: _Key, target: _Target, permit: Permit, error: str) -> None:
        """An attempt had no answer. One that was begun before the target's last answer tells nothing."""
        breaker = target.breaker
        if self._known.get(key) is not target:
            return
        if breaker.failed(permit, error[:_ERROR_CHARS], self._clock.monotonic()):
            silent = self._open_count()
            self._observer.notify(
                TargetSilent(target.place, breaker.failures, error[:_ERROR_CHARS], breaker.open_for_s, silent)
            )

    def _begin(self, url: httpx.URL) -> Attempt:
        key = (url.scheme, url.host, url.port)
        if self._rule.failures == 0:
            return Attempt(self, key, None)
        now_s = self._clock.monotonic()
        target = self._known.pop(key, None) or _Target(shown_place(url), Breaker(self._rule), now_s)
        target.touched_s = now_s
        self._known[key] = target
        self._forget(now_s)
        match target.breaker.ask(now_s):
            case Refusal() as refusal:
                raise TargetSilentError(self._said(target.place, refusal, now_s))
            case Permit() as permit:
                return Attempt(self, key, target, permit)

    def _forget(self, now_s: float) -> None:
        """Those at the front are the ones that were called the longest ago."""
        while len(self._known) > MAX_TARGETS or self._oldest_s() < now_s - FORGOTTEN_AFTER_S:
            _, target = self._known.popitem(last=False)
            self._tell_if_closed(target, answered=False)

    def _oldest_s(self) -> float:
        return next(iter(self._known.values())).touched_s

    def _tell_if_closed(self, target: _Target, *, answered: bool) -> None:
        if target.breaker.is_open:
            self._observer.notify(TargetAnswered(target.place, answered, self._open_count()))

    def _open_count(self) -> int:
        return sum(target.breaker.is_open for target in self._known.values())

    def _said(self, place: str, refusal: Refusal, now_s: float) -> str:
        epoch_s = self._clock.epoch()
        since = _moment(epoch_s - (now_s - refusal.since_s))
        again = "another run is trying it now"
        if refusal.again_in_s is not None:
            again = f"it is tried again from {_moment(epoch_s + refusal.again_in_s)} on"
        return (
            f"{place} has not answered {refusal.failures} requests in a row since {since}, "
            f"last: {refusal.last_error}; {again}"
        )


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
