"""Who waits for whom. Two of one directory are as those of two workers: locks belong to open files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.broker.waiting import wait_until
from tests.workers.quiet import Quiet

Quiets = tuple[Quiet, Quiet, Quiet]


@pytest.fixture
def quiets(tmp_path: Path) -> Iterator[Quiets]:
    three = Quiet(tmp_path), Quiet(tmp_path), Quiet(tmp_path)
    yield three
    for one in three:
        one.close()


class Visit:
    """Somebody who goes in on a thread of its own and stays until it is told to leave."""

    def __init__(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        self.inside, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._stay, args=(turn,))
        self._thread.start()

    def _stay(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        with turn():
            self.inside.set()
            assert self._leave.wait(60)
            self.inside.clear()

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(60)

    def waits(self, tmp_path: Path) -> None:
        """Returns once the kernel has it waiting for one of the files."""
        inodes = {str(file.stat().st_ino) for file in tmp_path.iterdir()}

        def are_waited_for() -> bool:
            lines = Path("/proc/locks").read_text().splitlines()
            return any("->" in line and line.split()[6].rpartition(":")[2] in inodes for line in lines)

        wait_until(are_waited_for, timeout_s=30, what="somebody to wait")
        assert not self.inside.is_set()


def test_others_are_in_together(quiets: Quiets) -> None:
    visits = [Visit(quiet.with_others) for quiet in quiets]
    assert all(visit.inside.wait(30) for visit in visits)
    for visit in visits:
        visit.leave()


def test_whoever_is_alone_has_waited_for_the_others_and_holds_up_the_next(quiets: Quiets, tmp_path: Path) -> None:
    first = Visit(quiets[0].with_others)
    assert first.inside.wait(30)
    alone = Visit(quiets[1].alone)
    alone.waits(tmp_path)
    next_one = Visit(quiets[2].with_others)
    next_one.waits(tmp_path)
    first.leave()
    assert alone.inside.wait(30)
    next_one.waits(tmp_path)
    alone.leave()
    assert next_one.inside.wait(30)
    next_one.leave()


def test_two_are_not_alone_at_once(quiets: Quiets, tmp_path: Path) -> None:
    first = Visit(quiets[0].alone)
    assert first.inside.wait(30)
    second = Visit(quiets[1].alone)
    second.waits(tmp_path)
    first.leave()
    assert second.inside.wait(30)
    second.leave()


@pytest.mark.parametrize("turn", [Quiet.alone, Quiet.with_others])
def test_a_failure_inside_lets_the_next_one_in(
    quiets: Quiets, turn: Callable[[Quiet], AbstractContextManager[None]]
) -> None:
    with pytest.raises(KeyError), turn(quiets[0]):
        raise KeyError
    with quiets[1].alone():
        pass
