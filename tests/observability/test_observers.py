"""The fan-out: one observer's defect is nobody else's."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from agent.domain import events as ev
from agent.observability.logs import configure
from agent.observability.observers import EventTable, Observers
from agent.ports import Ear
from tests.observability.helpers import Heard


class Broken:
    def notify(self, event: ev.Event) -> None:
        raise ZeroDivisionError(f"cannot take {type(event).__name__}")


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)
    return stream


@pytest.mark.usefixtures("log")
def test_the_others_hear_what_one_cannot_take() -> None:
    first, last = Heard(), Heard()
    observers = Observers(first, Broken(), last)

    observers.notify(ev.Consumed("t", 1))
    observers.notify(ev.Consumed("t", 2))

    assert first.events == last.events == [ev.Consumed("t", 1), ev.Consumed("t", 2)]


def test_a_defect_is_logged_once_for_each_kind_of_fact(log: io.StringIO) -> None:
    observers = Observers(Broken())

    for event in (ev.Consumed("t", 1), ev.Consumed("t", 2), ev.Committed("ok"), ev.Committed("ok")):
        observers.notify(event)

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["fact"] for line in lines] == ["Consumed", "Committed"]
    assert {line["observer"] for line in lines} == {"Broken"}
    assert "ZeroDivisionError: cannot take Consumed" in lines[0]["exception"]


def test_who_says_what_it_hears_is_told_nothing_else() -> None:
    class Picky(Heard):
        def ears(self, kind: type) -> Sequence[Ear]:
            asked.append(kind)
            return (self.notify, louder) if kind is ev.Committed else ()

    def louder(event: ev.Committed) -> None:
        aloud.append(event.result.upper())

    asked: list[type] = []
    aloud: list[str] = []
    picky, curious = Picky(), Heard()
    observers = Observers(picky, curious)

    told: list[ev.Event] = [ev.Consumed("t", 1), ev.Committed("ok"), ev.Consumed("t", 2), ev.Committed("failed")]
    for event in told:
        observers.notify(event)

    assert curious.events == told
    assert picky.events == [ev.Committed("ok"), ev.Committed("failed")]
    assert aloud == ["OK", "FAILED"]
    assert asked == [ev.Consumed, ev.Committed]  # once for each


def _no_answer(kind: type) -> Sequence[Ear]:
    raise ZeroDivisionError(f"cannot tell about {kind.__name__}")


def _breaks_off(kind: type) -> Iterator[Ear]:
    yield list
    raise ZeroDivisionError(f"cannot tell about {kind.__name__}")


def _none(_kind: type) -> Any:
    return None


@pytest.mark.parametrize(
    ("say", "defect"),
    [
        (_no_answer, "ZeroDivisionError: cannot tell about Consumed"),
        (_breaks_off, "ZeroDivisionError: cannot tell about Consumed"),
        (_none, "TypeError"),
    ],
)
def test_who_cannot_say_what_it_hears_is_told_all_and_complained_of_once(
    log: io.StringIO, say: Callable[[type], Any], defect: str
) -> None:
    class Undecided(Heard):
        def ears(self, kind: type) -> Sequence[Ear]:
            ears: Sequence[Ear] = say(kind)
            return ears

    undecided, other = Undecided(), Heard()
    observers = Observers(undecided, other)
    told: list[ev.Event] = [ev.Consumed("t", 1), ev.Consumed("t", 2)]
    for event in told:
        observers.notify(event)

    assert undecided.events == other.events == told
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["observer"], line["fact"]) == ("Undecided", "Consumed")
    assert defect in line["exception"]


def test_a_table_does_only_what_it_has_an_entry_for() -> None:
    heard: list[int] = []
    table = EventTable()
    table.on(ev.Consumed, lambda event: heard.append(event.count))

    table.notify(ev.Committed("ok"))
    table.notify(ev.Consumed("t", 3))

    assert heard == [3]
    (ear,) = table.ears(ev.Consumed)
    ear(ev.Consumed("t", 4))
    assert heard == [3, 4]
    assert not table.ears(ev.Committed)


def test_a_table_holds_its_lock_while_an_entry_acts() -> None:
    held: list[bool] = []
    lock = threading.Lock()
    table = EventTable(lock)
    table.on(ev.Consumed, lambda _: held.append(lock.locked()))

    table.notify(ev.Consumed("t", 1))
    for ear in table.ears(ev.Consumed):
        ear(ev.Consumed("t", 2))

    assert held == [True, True]
    assert not lock.locked()
