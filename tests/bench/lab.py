"""What scenarios measure with: the broker, a place for files, and how much of it all is wanted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.counterpart import Manners
from tests.bench.figures import Figure
from tests.bench.site import Site
from tests.broker.real_kafka import RealKafka

_QUICK_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is measured.

    ``quick``: a tenth of everything, to see that it works. ``full``: also the backlog of a million that is drained
    to its end. ``seconds``: how long what takes its time by the clock takes, in place of each scenario's own time.
    ``beside``: another working tree, whose agent handles the same in turns where bare loops do.
    """

    rounds: int = 3
    quick: bool = False
    full: bool = False
    seconds: float | None = None
    beside: Path | None = None

    def of(self, count: int) -> int:
        """So many, or a tenth of them."""
        return max(1, int(count * _QUICK_SHARE)) if self.quick else count

    def lasting(self, seconds: float) -> float:
        """So long, or as long as was asked for, or a tenth."""
        if self.seconds is not None:
            return self.seconds
        return seconds * _QUICK_SHARE if self.quick else seconds


class Lab:
    """Makes sites, each with an organisation of its own on one broker."""

    def __init__(self, kafka: RealKafka, home: Path, wanted: Wanted) -> None:
        self.wanted = wanted
        self._kafka = kafka
        self._home = home
        self._numbers = itertools.count(1)

    def site(self, routes: str, manners: Manners | None = None, partitions: int = 1) -> Site:
        """A new one, to be used as a context manager."""
        org = f"org_bench{next(self._numbers)}"
        return Site(self._kafka, self._home / org, org, routes, manners or Manners(), partitions)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to measure, by its pinned name. Figures come as they are found."""

    name: str
    what: str
    measure: Callable[[Lab], Iterator[Figure]]
