"""What an executor factory needs of the agent."""

from __future__ import annotations

import time
from collections.abc import Mapping

from agent.domain.events import Event
from agent.ports import ExecutorServices, ExecutorSettings


class _NoObserver:
    """Hears nothing."""

    def notify(self, event: Event) -> None:
        del event


class _RealClock:
    """The machine's time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def epoch(self) -> float:
        return time.time()


def fake_services(
    settings: ExecutorSettings | None = None, *, environment: Mapping[str, str] | None = None
) -> ExecutorServices:
    """What an executor factory is constructed with: an observer that hears nothing, and real time."""
    return ExecutorServices(
        observer=_NoObserver(),
        clock=_RealClock(),
        environment=environment or {},
        settings=settings or ExecutorSettings(kill_grace_s=1.0),
    )
