"""Misbehaviour on demand: what the stand-in does wrong, to which requests, and how often."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from agent.domain.json import Json


class Effect(StrEnum):
    """What happens to a request that a fault takes hold of."""

    ANSWER = "answer"
    """It is answered with the fault's status, headers and body; nothing is applied."""
    DELAY = "delay"
    """It is served as usual after ``delay_s``."""
    HANG = "hang"
    """It is never answered, and nothing is applied; the connection stays open until the server closes."""
    RESET = "reset"
    """The connection is reset; nothing is applied."""
    DROP_REPLY = "drop_reply"
    """It is applied, but the connection is reset in place of the answer."""


@dataclass(slots=True)
class Fault:
    """One scripted misbehaviour.

    ``path`` is a glob over the whole path (``/v1/actions/runs/*/logs``, ``*/access_token``), ``method`` a name or
    ``*``. The first ``skip`` matching requests pass, the next ``times`` are hit (``None``: all of them).
    ``delay_s`` is waited before any effect.
    """

    path: str = "*"
    method: str = "*"
    effect: Effect = Effect.ANSWER
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    delay_s: float = 0.0
    times: int | None = 1
    skip: int = 0

    def __post_init__(self) -> None:
        """Takes the effect by name too, as it comes over HTTP. Raises ``ValueError`` for an unknown one."""
        if self.effect not in list(Effect):
            raise ValueError(f"there is no effect {self.effect!r}; it is one of {', '.join(Effect)}")
        self.effect = Effect(self.effect)

    def matches(self, method: str, path: str) -> bool:
        """Whether the request is one that this fault is about."""
        return self.method in ("*", method) and fnmatchcase(path, self.path)


@dataclass(slots=True)
class Script:
    """The faults in force, in order: the first that matches and still has something to do is used."""

    faults: list[Fault] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        """Puts faults at the end."""
        self.faults.extend(faults)

    def clear(self) -> None:
        """Good behaviour from here on."""
        self.faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request runs into, used up by one."""
        for fault in self.faults:
            if not fault.matches(method, path) or fault.times == 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None


@dataclass(slots=True)
class RateLimit:
    """The budget told in ``x-ratelimit-*`` of every answer; over it requests get 429 if it is ``enforced``.

    ``reset_as_epoch`` picks which of the two documented readings ``x-ratelimit-reset`` has.
    """

    limit: int = 1_000_000
    period_s: float = 300.0
    enforced: bool = False
    reset_as_epoch: bool = False
    used: int = 0
    window_ends_s: float = 0.0

    def spend(self) -> bool:
        """Counts one request; ``False`` if it is to be refused."""
        now_s = time.monotonic()
        if now_s >= self.window_ends_s:
            self.used = 0
            self.window_ends_s = now_s + self.period_s
        self.used += 1
        return self.used <= self.limit or not self.enforced

    def headers(self) -> dict[str, str]:
        """The four headers as of now."""
        wait_s = max(0.0, self.window_ends_s - time.monotonic())
        reset = time.time() + wait_s if self.reset_as_epoch else wait_s
        return {
            "x-ratelimit-period": f"{self.period_s:g}",
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(max(0, self.limit - self.used)),
            "x-ratelimit-reset": f"{reset:.3f}".rstrip("0").rstrip("."),
        }
