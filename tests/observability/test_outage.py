"""What requests tell of Port's API: sequences of their ends, and the outages in them."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from agent.domain.events import ApiRequested
from agent.observability.outage import Outage, PastOutage

Step: TypeAlias = str | float
"""A request's end, as its code or ``CODE ROUTE``, or seconds that pass."""


def _told(*steps: Step, by_route: bool = False) -> tuple[list[PastOutage], float | None]:
    """The outages that ended, and for how long one lasts at the end of it all."""
    outage, now_s, ended = Outage(by_route=by_route), 1000.0, []
    for step in steps:
        if isinstance(step, float):
            now_s += step
            continue
        code, _, route = step.partition(" ")
        over = outage.requested(ApiRequested(route or "/a", "GET", code, 0.1), now_s)
        if over is not None:
            ended.append(over)
    return ended, outage.lasts_s(now_s)


@pytest.mark.parametrize(
    ("steps", "ended", "lasts_s"),
    [
        ((), [], None),
        (("200", "404", "429"), [], None),
        (("cancelled", 9.0, "cancelled"), [], None),
        (("503",), [], 0.0),
        (("503", 7.0), [], 0.0),
        (("timeout", 7.0, "connection"), [], 7.0),
        (("unreadable", 7.0, "cancelled"), [], 0.0),
        (("503", 7.0, "200"), [PastOutage(7.0, 1)], None),
        (("503", 7.0, "429"), [PastOutage(7.0, 1)], None),
        (("503", 7.0, "500", 1.0, "404", "200"), [PastOutage(8.0, 2)], None),
        (("503", "200", 1.0, "503", 2.0, "200"), [PastOutage(0.0, 1), PastOutage(2.0, 1)], None),
        (("503", 7.0, "503", 419.0), [], 7.0),
        (("503", 7.0, "503", 420.0), [], None),
        (("503", 7.0, "503", 420.0, "200"), [PastOutage(7.0, 2)], None),
        (("503", 420.0, "503", 3.0, "200"), [PastOutage(3.0, 1)], None),
        (("503 /a", 7.0, "200 /b"), [PastOutage(7.0, 1)], None),
    ],
    ids=str,
)
def test_an_outage_is_from_the_first_failure_to_the_next_answer(
    steps: tuple[Step, ...], ended: list[PastOutage], lasts_s: float | None
) -> None:
    assert _told(*steps) == (ended, lasts_s)


@pytest.mark.parametrize(
    ("steps", "ended", "lasts_s"),
    [
        (("503 /a", 7.0, "200 /b"), [], 0.0),
        (("503 /a", 7.0, "200 /b", 1.0, "200 /a"), [PastOutage(8.0, 1)], None),
        (("503 /a", "503 /b", 7.0, "200 /b", 1.0, "404 /a"), [PastOutage(8.0, 2)], None),
        (("503 /a", 60.0, "503 /a", 60.0, "200 /b", 10.0, "503 /a", 1.0, "200 /b"), [], 130.0),
        (("503 /a", 89.0, "200 /b"), [], 0.0),
        (("503 /a", 2.0, "503 /a", 90.0, "200 /b"), [PastOutage(2.0, 2)], None),
        (("503 /a", 90.0, "200 /a"), [PastOutage(90.0, 1)], None),
        (("503 /a", 420.0, "503 /b", 1.0, "200 /b"), [PastOutage(1.0, 1)], None),
        (("503 /a", 90.0, "200 /b", "503 /b", 1.0, "200 /b"), [PastOutage(0.0, 1), PastOutage(1.0, 1)], None),
    ],
    ids=str,
)
def test_by_route_an_answer_says_nothing_of_other_routes_for_a_while(
    steps: tuple[Step, ...], ended: list[PastOutage], lasts_s: float | None
) -> None:
    assert _told(*steps, by_route=True) == (ended, lasts_s)


@pytest.mark.parametrize(("lasted_s", "is_hiccup"), [(0.0, True), (4.9, True), (5.0, False)])
def test_a_hiccup_is_shorter_than_what_anybody_notices(lasted_s: float, *, is_hiccup: bool) -> None:
    assert PastOutage(lasted_s, 1).is_hiccup is is_hiccup
