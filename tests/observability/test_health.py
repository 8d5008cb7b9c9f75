"""Probes: ready from joining the group until the drain; alive while the loops turn."""

from __future__ import annotations

import asyncio

import pytest

from agent.domain import events as ev
from agent.observability.health import Liveness, Readiness
from agent.ports import Health
from tests.observability.helpers import Heard, HeldClock

JOINED = ev.Rebalanced("assigned", ())
DRAIN = ev.DrainStarted(0, 30)


SIGNED_IN = ev.TokenRefreshed("ok")


def told(*events: ev.Event, port: ev.Event | None = SIGNED_IN) -> tuple[Health, list[ev.Event]]:
    heard = Heard()
    readiness = Readiness(heard)
    for event in (*((port,) if port else ()), *events):
        readiness.notify(event)
    return readiness.check(), heard.events


def test_not_ready_before_the_group_is_joined() -> None:
    health, announced = told(ev.Polled(1.0), ev.ReadyChanged(ready=True, reason=""))

    assert health == Health(ok=False, reason="waiting to join the consumer group")
    assert announced == []


def test_not_ready_before_port_took_the_credentials() -> None:
    health, announced = told(JOINED, port=None)
    assert health == Health(ok=False, reason="waiting for Port's API")
    assert announced == []
    health, _ = told(JOINED, ev.TokenRefreshed("refused"), port=None)
    assert "are PORT_CLIENT_ID and PORT_CLIENT_SECRET right?" in health.reason
    health, _ = told(JOINED, ev.TokenRefreshed("error"), port=None)
    assert health.reason == "Port's API cannot be reached"


def test_what_is_missing_is_said_of_both_sides() -> None:
    health, _ = told(port=None)
    assert health.reason == "waiting to join the consumer group; waiting for Port's API"


def test_an_outage_of_port_later_on_changes_nothing() -> None:
    health, announced = told(JOINED, ev.TokenRefreshed("error"), ev.TokenRefreshed("refused"))
    assert health.ok
    assert len(announced) == 1


def test_what_keeps_it_from_joining_is_said() -> None:
    health, _ = told(ev.SourceFailed("_AUTHENTICATION", "SASL authentication failed"))

    assert not health.ok
    assert "_AUTHENTICATION: SASL authentication failed" in health.reason


DOWN = ev.SourceFailed("_ALL_BROKERS_DOWN", "3/3 brokers are down")


@pytest.mark.parametrize("code", ["_AUTHENTICATION", "_RESOLVE", "_SSL", "_TRANSPORT"])
def test_that_all_brokers_are_down_does_not_hide_why(code: str) -> None:
    health, _ = told(DOWN, ev.SourceFailed(code, "the reason"), DOWN)
    assert health.reason == f"waiting to join the consumer group; last error: {code}: the reason"


def test_that_all_brokers_are_down_is_said_where_nothing_else_is_known() -> None:
    health, _ = told(DOWN)
    assert "_ALL_BROKERS_DOWN: 3/3 brokers are down" in health.reason
    before = ev.SourceFailed("_SSL", "of another time")
    health, _ = told(before, JOINED, ev.Rebalanced("lost", ()), DOWN)
    assert "_ALL_BROKERS_DOWN: 3/3 brokers are down" in health.reason
    health, _ = told(before, ev.SourceFailed("_RESOLVE", "newer"))
    assert "_RESOLVE: newer" in health.reason


def test_ready_with_zero_partitions() -> None:
    health, announced = told(JOINED)

    assert health.ok
    assert announced == [ev.ReadyChanged(ready=True, reason="ready")]


@pytest.mark.parametrize(
    "event",
    [JOINED, ev.Rebalanced("revoked", (("t", 0),)), ev.SourceFailed("_TRANSPORT", "broker gone")],
    ids=["again", "revoked", "broker down"],
)
def test_stays_ready_and_says_so_once(event: ev.Event) -> None:
    health, announced = told(JOINED, event)

    assert health.ok
    assert len(announced) == 1


def test_losing_the_partitions_means_joining_again() -> None:
    lost = ev.Rebalanced("lost", (("t", 0),))

    health, _ = told(JOINED, lost)
    assert not health.ok
    assert "rejoining" in health.reason

    health, announced = told(JOINED, lost, JOINED)
    assert health.ok
    assert [event.ready for event in announced if isinstance(event, ev.ReadyChanged)] == [True, False, True]


def test_a_fatal_error_of_the_client_is_not_ready() -> None:
    health, _ = told(JOINED, ev.SourceFailed("_FATAL", "fenced", fatal=True))

    assert not health.ok
    assert "_FATAL: fenced" in health.reason


def test_draining_is_not_ready_for_good() -> None:
    health, announced = told(JOINED, DRAIN, JOINED, ev.SourceFailed("_X", "y"))

    assert health == Health(ok=False, reason="draining: no new runs are started")
    assert announced[-1] == ev.ReadyChanged(ready=False, reason="draining: no new runs are started")


def test_alive_for_as_long_as_the_first_poll_takes() -> None:
    clock = HeldClock()
    liveness = Liveness(clock, poll_limit_s=120, beat_limit_s=60)

    for _ in range(100):
        clock.pass_s(50)
        liveness.beat()

    assert liveness.check().ok


def test_not_alive_when_polling_stopped() -> None:
    clock = HeldClock()
    liveness = Liveness(clock, poll_limit_s=120, beat_limit_s=60)
    liveness.notify(ev.Polled(clock.epoch()))

    clock.pass_s(120)
    liveness.beat()
    assert liveness.check().ok
    clock.pass_s(1)

    assert liveness.check() == Health(ok=False, reason="the consumer has not polled for 121 s")
    liveness.notify(ev.Polled(clock.epoch()))
    assert liveness.check().ok


def test_not_alive_when_the_loop_stopped_beating() -> None:
    clock = HeldClock()
    liveness = Liveness(clock, poll_limit_s=120, beat_limit_s=60)

    clock.pass_s(61)

    assert liveness.check() == Health(ok=False, reason="the event loop has not beaten for 61 s")


def test_a_drain_without_polls_is_alive() -> None:
    clock = HeldClock()
    liveness = Liveness(clock, poll_limit_s=120, beat_limit_s=60)
    liveness.notify(ev.Polled(clock.epoch()))
    liveness.notify(DRAIN)

    clock.pass_s(500)
    liveness.beat()

    assert liveness.check().ok


def test_it_beats_on_the_loop_until_cancelled() -> None:
    clock = HeldClock()
    liveness = Liveness(clock, beat_limit_s=60)
    clock.pass_s(61)
    assert not liveness.check().ok

    async def scenario() -> None:
        beating = asyncio.create_task(liveness.keep_beating())
        await asyncio.sleep(0)
        assert liveness.check().ok
        beating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beating

    asyncio.run(scenario())
