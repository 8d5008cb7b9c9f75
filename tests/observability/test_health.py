"""Probes: ready from joining the group until the drain; alive while the loops turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent.domain import events as ev
from agent.observability.health import Liveness, Readiness
from agent.ports import Health
from tests.observability.helpers import Heard, HeldClock

JOINED = ev.Rebalanced("assigned", ())
DRAIN = ev.DrainStarted(0, 0, 30)


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
    assert health.reason == "Port's API gives no access token"


def test_what_is_missing_is_said_of_both_sides() -> None:
    health, _ = told(port=None)
    assert health.reason == "waiting to join the consumer group; waiting for Port's API"


def test_an_outage_of_port_later_on_changes_nothing() -> None:
    health, announced = told(JOINED, ev.TokenRefreshed("error"), ev.TokenRefreshed("refused"))
    assert health.ok
    assert len(announced) == 1


def test_where_it_polls_it_is_ready_while_the_last_claim_of_action_runs_succeeded() -> None:
    readiness = Readiness(Heard(), source="polling")
    readiness.notify(SIGNED_IN)
    assert readiness.check() == Health(ok=False, reason="waiting to claim runs")
    readiness.notify(ev.ClaimsAsked("node_run", "ok", 0))
    assert not readiness.check().ok
    readiness.notify(ev.ClaimsAsked("action_run", "ok", 0))
    assert readiness.check().ok
    readiness.notify(ev.ClaimsAsked("node_run", "failed", 0, "404"))
    assert readiness.check().ok
    readiness.notify(ev.ClaimsAsked("action_run", "failed", 0, "503: away"))
    assert readiness.check() == Health(ok=False, reason="waiting to claim runs; last error: 503: away")
    readiness.notify(ev.SourceFailed("polling", "in vain", fatal=True))
    assert readiness.check() == Health(ok=False, reason="polling failed for good: polling: in vain")


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


# ── alive ────────────────────────────────────────────────────────────────────────────────────────────

RUNS = ("org.runs", 0)
LIMIT_S = 120.0


class Watched:
    """A liveness probe with a held clock. Time passes with a beat and a poll each second, unless told otherwise."""

    def __init__(self) -> None:
        self.clock = HeldClock()
        self.heard = Heard()
        self.users: list[str] = []
        self.liveness = Liveness(self.clock, self.heard, stall_timeout_s=LIMIT_S, loop_users=lambda: self.users)
        self.tell(ev.Polled(self.clock.epoch()), ev.Rebalanced("assigned", (RUNS,)))

    def tell(self, *events: ev.Event) -> None:
        for event in events:
            self.liveness.notify(event)

    def stands(self, uncommitted: int, *, unread_for_s: float | None = None, index: int = 0, held: int = 0) -> None:
        status = ev.PartitionStatus("org.runs", index, 9, uncommitted, 0, None, paused=False)
        self.tell(replace(status, unread_for_s=unread_for_s, held=held))

    def in_hand(self, count: int, waiting: int = 0) -> None:
        self.tell(ev.WaitingChanged(waiting, None, count))

    def pass_s(self, seconds: float, *, beats: bool = True, polls: bool = True) -> None:
        self.clock.pass_s(seconds)
        if beats:
            self.liveness.beat()
        if polls:
            self.tell(ev.Polled(self.clock.epoch()))

    def why(self) -> str:
        """Why it is not alive, empty if it is."""
        health = self.liveness.check()
        return "" if health.ok else health.reason


def test_alive_for_as_long_as_the_first_poll_takes() -> None:
    clock = HeldClock()
    liveness = Liveness(clock, Heard(), stall_timeout_s=LIMIT_S)

    for _ in range(100):
        clock.pass_s(50)
        liveness.beat()

    assert liveness.check().ok


def test_not_alive_while_polls_have_stopped() -> None:
    agent = Watched()

    agent.pass_s(LIMIT_S, polls=False)
    assert not agent.why()
    agent.pass_s(1, polls=False)

    assert agent.why() == "the consumer has not polled for 121 s"
    agent.pass_s(0)
    assert not agent.why()


def test_not_alive_while_the_loop_stands_still_and_who_may_hold_it_is_named() -> None:
    agent = Watched()

    agent.pass_s(LIMIT_S, beats=False)
    assert not agent.why()
    agent.pass_s(1, beats=False)

    assert agent.why() == "the event loop has stood still for 121 s"
    agent.users = ["backup", "create"]
    suspects = " (Python actions of these routes are being executed: backup, create)"
    assert agent.why() == f"the event loop has stood still for 121 s{suspects}"
    agent.pass_s(0)
    assert not agent.why()


def test_not_alive_where_nothing_is_read_though_there_is_more() -> None:
    agent = Watched()

    agent.stands(0, unread_for_s=LIMIT_S)
    assert not agent.why()
    agent.stands(0, unread_for_s=LIMIT_S + 2)
    agent.stands(0, index=1)

    assert agent.why() == "nothing was read of org.runs[0] for 122 s, though the broker has more"
    agent.stands(0)
    assert not agent.why()


def test_what_is_unread_counts_no_further_while_nothing_is_told_of_it() -> None:
    agent = Watched()
    agent.stands(0, unread_for_s=LIMIT_S)

    agent.pass_s(10 * LIMIT_S)

    assert not agent.why()


def test_not_alive_where_messages_are_in_nobodys_hands() -> None:
    agent = Watched()
    agent.in_hand(1)
    agent.stands(1)
    agent.pass_s(3600)
    agent.stands(3)
    assert not agent.why(), "a run may take its time"

    agent.in_hand(0)
    agent.pass_s(LIMIT_S)
    assert not agent.why()
    agent.pass_s(1)

    assert agent.why() == "3 messages are read of org.runs[0], not finished, and in nobody's hands for 121 s"
    agent.stands(0)
    assert not agent.why()


def test_a_message_that_never_came_into_anybodys_hands_counts_from_when_it_was_told() -> None:
    agent = Watched()
    agent.pass_s(1000)
    agent.stands(1)
    agent.pass_s(LIMIT_S)
    assert not agent.why()
    agent.pass_s(1)

    assert agent.why() == "1 message is read of org.runs[0], not finished, and in nobody's hands for 121 s"
    agent.in_hand(1)
    assert not agent.why()


def test_runs_that_wait_without_anybody_to_begin_them_are_in_nobodys_hands() -> None:
    agent = Watched()
    agent.stands(5)
    agent.in_hand(0, waiting=5)

    agent.pass_s(LIMIT_S + 1)

    assert "5 messages are read of org.runs[0]" in agent.why()


def test_what_was_given_back_is_not_hidden_by_what_is_in_hand() -> None:
    agent = Watched()
    agent.in_hand(3)
    agent.stands(4, held=1)
    agent.pass_s(LIMIT_S)
    agent.stands(7, held=2)
    assert not agent.why()
    agent.pass_s(1)

    assert agent.why() == "2 messages of org.runs[0], given back unfinished, can only come again after a restart"
    agent.tell(ev.Rebalanced("revoked", (RUNS,)))
    assert not agent.why()
    agent.stands(1, held=1)
    agent.pass_s(LIMIT_S)
    assert not agent.why()
    agent.pass_s(1)
    assert agent.why() == "1 message of org.runs[0], given back unfinished, can only come again after a restart"


def test_what_a_drain_gives_back_is_no_standstill() -> None:
    agent = Watched()
    agent.tell(DRAIN)
    agent.stands(4, held=4)
    agent.pass_s(10 * LIMIT_S)
    assert not agent.why()


@pytest.mark.parametrize("change", ["revoked", "lost"])
def test_a_partition_that_goes_takes_its_standstill_with_it(change: str) -> None:
    agent = Watched()
    agent.stands(1, unread_for_s=LIMIT_S + 1)
    agent.pass_s(LIMIT_S + 1)
    assert agent.why()

    agent.tell(ev.Rebalanced(change, (RUNS,)))

    assert not agent.why()


def test_troubles_of_kafka_and_of_port_are_no_standstill() -> None:
    agent = Watched()
    agent.in_hand(2)
    agent.stands(2)
    for _ in range(100):
        agent.pass_s(LIMIT_S)
        agent.tell(ev.SourceFailed("_ALL_BROKERS_DOWN", "3/3"), ev.TokenRefreshed("error"), ev.Committed("_X"))
        agent.stands(2)

        assert not agent.why()


def test_a_drain_is_alive_whatever_stands_still() -> None:
    agent = Watched()
    agent.stands(1, unread_for_s=LIMIT_S + 1)
    agent.tell(DRAIN)

    agent.pass_s(10 * LIMIT_S, beats=False, polls=False)

    assert not agent.why()


def test_a_change_of_the_answer_is_told_once() -> None:
    agent = Watched()
    assert not agent.why()
    agent.pass_s(LIMIT_S + 1, polls=False)
    assert agent.why()
    assert agent.why()
    agent.pass_s(0)
    assert not agent.why()
    assert not agent.why()

    assert agent.heard.events == [
        ev.AliveChanged(alive=False, reason="the consumer has not polled for 121 s"),
        ev.AliveChanged(alive=True, reason="alive"),
    ]


def test_it_beats_and_checks_on_the_loop_until_cancelled() -> None:
    agent = Watched()
    agent.pass_s(LIMIT_S + 1, beats=False, polls=False)

    async def scenario() -> None:
        beating = asyncio.create_task(agent.liveness.keep_beating())
        await asyncio.sleep(0)
        assert agent.why() == "the consumer has not polled for 121 s"
        beating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beating

    asyncio.run(scenario())
    assert len(agent.heard.events) == 1
