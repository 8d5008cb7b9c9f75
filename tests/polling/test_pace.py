"""When Port is asked next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.domain.invocation import InvocationKind
from agent.polling.pace import Line, Pace

PACE = Pace()


def line(now_s: float = 0.0, pace: Pace = PACE) -> Line:
    return Line(InvocationKind.ACTION_RUN, pace, now_s)


def test_waits_after_errors_grow_to_their_bound_and_begin_anew_after_a_success() -> None:
    one = line()
    assert [one.failed(0.0, 0.0, 0.0) for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    failing = [one.failing_since_s]
    one.gave(0, 10, 100.0)
    assert [*failing, one.failing_since_s] == [0.0, None]
    assert one.failed(0.0, 0.0, 0.0) == 1


def test_a_lot_adds_up_to_its_share() -> None:
    assert PACE.backoff_s(3, 0.0) == 4.0
    assert PACE.backoff_s(3, 1.0) == 4.4


def test_port_is_left_alone_for_as_long_as_it_wants() -> None:
    one = line()
    assert one.failed(77.0, 0.0, 10.0) == 77.0
    assert one.next_at_s == 87.0


def test_a_full_batch_is_followed_at_once_and_an_empty_one_after_the_interval() -> None:
    one = line()
    one.gave(10, 10, 100.0)
    assert 100.0 < one.next_at_s < 100.1
    one.gave(9, 10, 200.0)
    assert one.next_at_s == 210.0


def test_free_slots_hasten_only_where_more_is_known_to_be_pending() -> None:
    one = line()
    one.gave(3, 10, 100.0)
    one.slots_became_free()
    assert one.next_at_s == 110.0
    one.asked(200.0)
    one.had_no_room(200.0)
    assert one.next_at_s == 202.0
    one.slots_became_free()
    assert one.next_at_s == 200.0 + PACE.gap_s


def test_free_slots_do_not_shorten_a_wait_after_an_error() -> None:
    one = line()
    one.had_no_room(0.0)
    one.failed(0.0, 0.0, 0.0)
    one.slots_became_free()
    assert one.next_at_s == 1.0


def test_what_port_does_not_know_is_asked_for_rarely() -> None:
    one = line()
    one.is_absent(10.0)
    assert one.next_at_s == 310.0
    assert one.failing_since_s is None


def test_a_claim_is_put_off_once_and_then_made() -> None:
    one = line()
    assert one.put_off(12.0)
    assert one.next_at_s == 12.0
    assert not one.put_off(24.0)
    assert one.next_at_s == 12.0
    one.asked(12.0)
    assert one.put_off(24.0)


@given(
    st.builds(
        Pace,
        interval_s=st.floats(0, 1000),
        first_backoff_s=st.floats(0, 1000),
        backoff_factor=st.floats(1, allow_infinity=False),
        max_backoff_s=st.floats(0, 1000),
        jitter=st.floats(0, 1),
    ),
    st.integers(1, 10_000),
    st.floats(0, 1),
)
def test_no_setting_makes_it_ask_without_a_pause(pace: Pace, failures: int, lot: float) -> None:
    assert 0.05 <= pace.backoff_s(failures, lot) <= 2 * max(0.05, pace.max_backoff_s)
    one = line(pace=pace)
    one.gave(1, 1, 5.0)
    assert one.next_at_s >= 5.05
