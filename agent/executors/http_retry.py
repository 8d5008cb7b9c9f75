"""When a request is sent once more. Pure: no clock, no sleep."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from agent.domain.retry import Backoff
from agent.executors.http_targets import TargetSilentError
from agent.net.errors import AddressRefusedError, CertificateError, never_sent

DEFAULT_ATTEMPTS = 3
DEFAULT_STATUSES = frozenset({429, 502, 503, 504})
MAX_SERVER_WAIT_S = 120.0
"""A server that asks for more gets no second request: the run would hold its slot for nothing."""

_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_HOPELESS = (AddressRefusedError, CertificateError, httpx.LocalProtocolError, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class RetryRule:
    """A route's rule. ``attempts`` counts the first one; ``unsafe``: the server bears repeated POSTs.

    ``asked_for``: the route itself says so. Then also what was not sent because the target is silent is tried
    again, for its operator wants such runs to wait in their slots; by default they end at once.
    """

    attempts: int = DEFAULT_ATTEMPTS
    statuses: frozenset[int] = DEFAULT_STATUSES
    unsafe: bool = False
    asked_for: bool = False
    backoff: Backoff = field(default=Backoff())

    def after_error(self, method: str, error: httpx.TransportError) -> bool:
        """Whether a request that failed so, perhaps where it was redirected to, may be sent again."""
        if isinstance(error, _HOPELESS) or isinstance(error.__cause__, _HOPELESS):
            return False
        if isinstance(error, TargetSilentError):
            return self.asked_for
        return never_sent(error) or self._may_repeat(method)

    def after_status(self, method: str, status: int) -> bool:
        """Whether a request that was answered so may be sent again."""
        return status in self.statuses and self._may_repeat(method)

    def wait_s(self, attempt: int, asked_s: float | None, left_s: float, random01: float) -> float | None:
        """The wait after attempt number ``attempt``; ``None``: that was the last one.

        ``asked_s`` is what the server asks for, ``left_s`` the time the run has left.
        """
        if attempt >= self.attempts or (asked_s is not None and asked_s > MAX_SERVER_WAIT_S):
            return None
        wait_s = max(asked_s or 0.0, self.backoff.wait_s(attempt, random01))
        return wait_s if wait_s < left_s else None

    def _may_repeat(self, method: str) -> bool:
        return self.unsafe or method in _REPEATABLE_METHODS


def retry_label(result: httpx.TransportError | int) -> str:
    """Why a request is repeated, as a metric label: status_503, silent, connect, timeout, broken."""
    if isinstance(result, int):
        return f"status_{result}"
    if isinstance(result, TargetSilentError):
        return "silent"
    if never_sent(result):
        return "connect"
    return "timeout" if isinstance(result, httpx.TimeoutException) else "broken"
