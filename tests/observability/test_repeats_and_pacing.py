"""What bounds the noise: repeated log lines, and repeated rendering."""

from __future__ import annotations

from agent.observability.pacing import Paced
from agent.observability.repeats import Repeats


def test_a_burst_passes_and_what_comes_beyond_it_is_counted() -> None:
    repeats = Repeats(60, burst=3)
    assert [repeats.ask("a", now_s) for now_s in (0, 1, 2, 3, 59.9)] == [0, 0, 0, None, None]
    assert [repeats.ask("a", now_s) for now_s in (60, 61, 62, 63)] == [2, 0, 0, None]
    assert repeats.ask("a", 200) == 1
    assert repeats.ask("b", 200) == 0


def test_the_same_thing_passes_once_a_minute_with_the_number_held_back() -> None:
    repeats = Repeats(60)

    assert [repeats.ask("down", t) for t in (0, 1, 59.9, 60, 61, 130)] == [0, None, None, 2, None, 1]


def test_different_things_do_not_hold_each_other_back() -> None:
    repeats = Repeats(60)

    assert repeats.ask("a", 0) == 0
    assert repeats.ask("b", 0) == 0


def test_what_is_remembered_is_bounded() -> None:
    repeats = Repeats(60)
    for number in range(10_000):
        repeats.ask(number, 0)

    assert len(repeats._seen) == 256
    assert repeats.ask(9_999, 1) is None
    assert repeats.ask(0, 1) == 0


def test_rendering_takes_a_tenth_of_the_time_at_most() -> None:
    now, cpu, rendered = 0.0, 0.0, 0

    def render() -> bytes:
        nonlocal cpu, rendered
        cpu += 0.005
        rendered += 1
        return str(rendered).encode()

    page = Paced(render, now_s=lambda: now, cpu_s=lambda: cpu)
    for step in range(1000):
        now = step / 1000
        page()

    assert 18 <= rendered <= 21
    now += 0.06
    assert page() == str(rendered).encode() != b"1"
