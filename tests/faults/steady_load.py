"""Runs that are asked for all the time, while a test does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.broker.waiting import wait_until
from tests.whole.one_agent import OneAgent

_AT_ONCE = 8
_PAUSE_S = 0.02


class SteadyLoad:
    """A few runs of one action are unfinished at any moment inside of the block; their thread ends with it."""

    def __init__(self, agent: OneAgent, action: str) -> None:
        self._agent = agent
        self._action = action
        self._run_ids: list[str] = []
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watched, args=(self._order,), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        assert self._error is None, self._error

    @property
    def run_ids(self) -> list[str]:
        """All that were asked for so far, in their order."""
        return list(self._run_ids)

    @property
    def from_now_on(self) -> int:
        """The runs from this place of `run_ids` on are asked for after this call began."""
        return len(self._run_ids) + 1  # one may be under way

    def go_on(self, count: int = 30) -> None:
        """Returns once so many more runs were asked for and have ended."""
        first = len(self._run_ids)
        wait_until(
            lambda: self._error or len(self._run_ids) >= first + count,
            timeout_s=60,
            what="more runs to be asked for",
        )
        for run_id in self._run_ids[first : first + count]:
            self._agent.world.ended(run_id, timeout_s=60)

    def _order(self) -> None:
        runs = self._agent.world.ledger.runs
        while not self._stop.is_set():
            if sum(not runs[run_id].terminal_statuses for run_id in self._run_ids[-2 * _AT_ONCE :]) < _AT_ONCE:
                self._run_ids.append(self._agent.invoke(self._action))
            else:
                self._stop.wait(_PAUSE_S)

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must fail of it
            self._error = error
