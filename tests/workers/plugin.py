"""What pytest-xdist's workers need here: long files first, quiet for some tests, and figures of coverage.

A worker executes whole files, and some rooms whole, for their tests share what they start. Without workers nothing
of this does anything.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import pytest
from coverage import Coverage
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # ships no types

from tests.workers.quiet import Quiet

_LONG = ("whole", "drop_in", "faults", "broker", "chaos", "sandbox", "commands")
"""Rooms where whole agents are started: a file takes a minute, for which all would wait, were it among the last."""

_UNDIVIDED = ("tests/whole/", "tests/drop_in/")
"""Rooms whose tests share agents: each worker that had a file of theirs would start all of them."""

_DIRECTORY = pytest.StashKey[Path]()
"""Of the process that starts the workers: where they agree on who is alone."""

_QUIET = pytest.StashKey[Quiet]()
"""Of a worker."""


class Node(Protocol):
    """A worker, as the process that starts it has it."""

    config: pytest.Config
    workerinput: dict[str, Any]


def _counting() -> Coverage | None:
    """For a worker of `coverage run`, which by itself counts in no process but its own."""
    if "PYTEST_XDIST_WORKER" not in os.environ or "COVERAGE_RUN" not in os.environ:
        return None
    coverage = Coverage(data_suffix=True)
    coverage.start()
    return coverage


_COVERAGE = _counting()
"""Counts since this was imported, which is before anything of the agent was."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for many a test waits most of its time."""
    return (os.cpu_count() or 1) + 1


class Spread(LoadFileScheduling):  # type: ignore[misc]
    """File by file, to whoever is free, in the order of `pytest_collection_modifyitems`."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False  # would have the file with most tests come first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        """What goes to one worker: the room or the file of this test."""
        rooms = (room for room in _UNDIVIDED if nodeid.startswith(room))
        return next(rooms, super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread:
    """In place of that of ``--dist``."""
    return Spread(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Node) -> None:
    """Tells a worker where it finds the others."""
    stash = node.config.stash
    if _DIRECTORY not in stash:
        stash[_DIRECTORY] = Path(tempfile.mkdtemp(prefix="action-agent-tests-"))
    node.workerinput["quiet"] = str(stash[_DIRECTORY])


def pytest_configure(config: pytest.Config) -> None:
    """Has a worker find the others."""
    if hasattr(config, "workerinput"):
        config.stash[_QUIET] = Quiet(Path(config.workerinput["quiet"]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Tidies up, and leaves a worker's figures to `coverage combine`."""
    if _QUIET in config.stash:
        config.stash[_QUIET].close()
    if _DIRECTORY in config.stash:
        shutil.rmtree(config.stash[_DIRECTORY])
    if _COVERAGE is not None:
        _COVERAGE.stop()
        _COVERAGE.save()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts first the files where somebody wants to be alone, whom others keep waiting, then the long rooms."""
    loners = {item.path for item in items if item.get_closest_marker("alone")}

    def place(item: pytest.Item) -> tuple[bool, int]:
        room = item.path.parent.name
        return item.path not in loners, _LONG.index(room) if room in _LONG else len(_LONG)

    if _QUIET in config.stash:
        items.sort(key=place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Has a test wait for its turn, before its time-out begins."""
    turn: AbstractContextManager[None] = nullcontext()
    if (quiet := item.config.stash.get(_QUIET, None)) is not None:
        turn = quiet.alone() if item.get_closest_marker("alone") else quiet.with_others()
    with turn:
        return (yield)
