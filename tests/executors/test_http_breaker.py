"""When a target is left alone, and when it is tried again; as a table, without any clock."""

from __future__ import annotations

import pytest

from agent.executors.http_breaker import Breaker, BreakerRule, Permit, Refusal

RULE = BreakerRule(failures=3, first_s=5.0, cap_s=60.0)


def permit(breaker: Breaker, now_s: float) -> Permit:
    asked = breaker.ask(now_s)
    assert isinstance(asked, Permit), asked
    return asked


def refusal(breaker: Breaker, now_s: float) -> Refusal:
    asked = breaker.ask(now_s)
    assert isinstance(asked, Refusal), asked
    return asked


def opened(at_s: float = 100.0) -> Breaker:
    breaker = Breaker(RULE)
    for n in range(3):
        breaker.failed(permit(breaker, at_s), f"error {n}", at_s)
    return breaker


def test_it_opens_at_the_last_of_so_many_failures_in_a_row() -> None:
    breaker = Breaker(RULE)
    told = [breaker.failed(permit(breaker, 10.0 + n), f"error {n}", 20.0 + n) for n in range(3)]
    assert told == [False, False, True]
    assert refusal(breaker, 23.0) == Refusal(3, since_s=20.0, last_error="error 2", again_in_s=4.0)


def test_what_was_begun_before_it_opened_neither_opens_it_again_nor_puts_the_probe_off() -> None:
    breaker = Breaker(RULE)
    permits = [permit(breaker, 0.0) for _ in range(5)]
    told = [breaker.failed(each, "silent", 30.0 + n) for n, each in enumerate(permits)]
    assert told == [False, False, True, False, False]
    assert refusal(breaker, 36.0) == Refusal(5, since_s=30.0, last_error="silent", again_in_s=1.0)


def test_one_probe_at_a_time_once_its_time_is_over() -> None:
    breaker = opened(100.0)
    refusal(breaker, 104.9)
    permit(breaker, 105.0)
    assert refusal(breaker, 105.0).again_in_s is None
    assert refusal(breaker, 109.9).again_in_s is None


def test_a_probe_that_hangs_makes_room_for_another_after_the_same_time_again() -> None:
    breaker = opened(100.0)
    hanging = permit(breaker, 105.0)
    refusal(breaker, 109.9)
    another = permit(breaker, 110.0)
    refusal(breaker, 114.9)
    breaker.failed(hanging, "it has hung", 112.0)
    breaker.withdrawn(hanging)
    assert refusal(breaker, 114.9).again_in_s is None, "the other one is still under way"
    breaker.failed(another, "silent", 114.9)
    assert breaker.open_for_s == 10.0
    assert refusal(breaker, 124.8).failures == 5
    permit(breaker, 124.9)


def test_each_probe_that_fails_doubles_the_time_up_to_the_cap() -> None:
    breaker, now_s = opened(100.0), 100.0
    waits = []
    for _ in range(6):
        now_s += breaker.open_for_s
        waits.append(breaker.open_for_s)
        breaker.failed(permit(breaker, now_s), "silent", now_s)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert refusal(breaker, now_s).failures == 3 + len(waits)


def test_a_probe_that_nobody_waited_for_makes_room_for_the_next_one() -> None:
    breaker = opened(100.0)
    probe = permit(breaker, 105.0)
    breaker.withdrawn(probe)
    assert breaker.is_open
    assert permit(breaker, 105.0) is not probe
    assert isinstance(breaker.ask(105.0), Refusal)


def test_withdrawing_another_attempt_leaves_the_probe_alone() -> None:
    breaker = Breaker(RULE)
    early = permit(breaker, 0.0)
    for _ in range(3):
        breaker.failed(permit(breaker, 0.0), "silent", 100.0)
    permit(breaker, 105.0)
    breaker.withdrawn(early)
    refusal(breaker, 105.0)


@pytest.mark.parametrize("failures", [1, 2, 10])
def test_before_so_many_failures_nothing_is_refused(failures: int) -> None:
    breaker = Breaker(BreakerRule(failures=failures))
    for _ in range(failures):
        assert not breaker.is_open
        breaker.failed(permit(breaker, 0.0), "silent", 0.0)
    assert breaker.is_open
