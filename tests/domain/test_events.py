from dataclasses import fields, is_dataclass
from typing import get_args

import pytest

from agent.domain import events
from agent.domain.events import Event

DEFINED = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == events.__name__
]


def test_the_union_has_every_event() -> None:
    assert set(get_args(Event)) == set(DEFINED)


@pytest.mark.parametrize("kind", DEFINED)
def test_no_event_has_room_for_what_a_user_typed(kind: type) -> None:
    assert not {field.name for field in fields(kind)} & {"inputs", "secret", "user", "url", "body", "document"}
