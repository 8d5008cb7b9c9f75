"""What is done as soon as it is sure that the agent stops."""

from __future__ import annotations

import pytest

from agent.composition.listeners import AtDrain
from agent.domain.events import DrainStarted, Event, Polled, SourceFailed


@pytest.mark.parametrize(
    ("event", "acts"),
    [
        (DrainStarted(0, 0, 30), True),
        (SourceFailed("_FATAL", "fenced", fatal=True), True),
        (SourceFailed("_TRANSPORT", "broker gone"), False),
        (Polled(1.0), False),
    ],
)
def test_it_acts_at_a_drain_and_at_what_is_sure_to_begin_one(event: Event, *, acts: bool) -> None:
    acted: list[Event] = []
    AtDrain(lambda: acted.append(event)).notify(event)
    assert acted == ([event] if acts else [])
