from __future__ import annotations

from agent.domain.timeline import Timeline


def test_the_end_has_room_for_every_step_and_the_pods_grace_period_for_the_end() -> None:
    timeline = Timeline(drain_s=30, kill_grace_s=10, report_s=20)
    assert timeline.total_s == 69
    assert timeline.grace_s == 70
