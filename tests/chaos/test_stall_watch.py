"""Standing still is noticed, and nothing else is."""

from __future__ import annotations

import pytest

from tests.chaos.diary import Diary
from tests.chaos.stall_watch import STALLED, Progress, StallWatch


@pytest.mark.parametrize(
    ("looks", "noticed"),
    [
        ([Progress(1, has_work=True), Progress(1, has_work=True)], True),
        ([Progress(1, has_work=True), Progress(2, has_work=True)], False),
        ([Progress(1, has_work=False), Progress(1, has_work=False)], False),
        ([Progress(1, has_work=True), None, Progress(1, has_work=True)], False),
    ],
)
def test_whoever_has_work_and_gets_nothing_done_stands_still(looks: list[Progress | None], noticed: bool) -> None:  # noqa: FBT001 - a column of the table
    diary = Diary()
    watch = StallWatch([], lambda: Progress(0, has_work=False), diary, stall_s=0)
    for progress in looks:
        watch.look("agent-1", progress)
    assert [(harm.whom, harm.what) for harm in diary.harms] == ([("agent-1", STALLED)] if noticed else [])
