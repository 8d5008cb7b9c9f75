"""What a fuzz target is: a check that raises where a promise is broken, and the inputs a search begins with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from random import Random
from typing import TypeVar

Result = TypeVar("Result")

NAMES = ("decoder", "templates", "expressions", "offset_map", "redaction", "outputs")

_TRIES = 3


@dataclass(frozen=True)
class Target:
    """One part of the agent under any bytes.

    ``check`` takes every input; it raises `AssertionError`, or whatever escapes the agent, where something is
    wrong. ``mutate`` makes a neighbour of an input that stays near to what the part expects; it is deterministic in
    its `Random`. ``max_bytes`` bounds what the search makes of them.
    """

    check: Callable[[bytes], None]
    seeds: Sequence[bytes]
    mutate: Callable[[bytes, Random], bytes]
    max_bytes: int


def load(name: str) -> Target:
    """The target of that name; what it checks is imported only now. Raises `ModuleNotFoundError`."""
    target: Target = import_module(f"tests.fuzz.{name}").TARGET
    return target


def within(limit_s: float, work: Callable[[], Result]) -> Result:
    """What ``work`` returns. Fails if it takes more processor time than ``limit_s``, time after time.

    Whatever else the machine does is not counted, and what only happened once (a collection of garbage) is not
    either; so ``work`` must be repeatable.
    """
    for attempt in range(_TRIES):
        begun_s = time.thread_time()
        result = work()
        spent_s = time.thread_time() - begun_s
        if spent_s <= limit_s:
            return result
        assert attempt < _TRIES - 1, f"took {spent_s:.3f} s of processor time, more than {limit_s:.3f} s"
    raise AssertionError("not reached")
