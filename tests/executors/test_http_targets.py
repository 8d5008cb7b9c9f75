"""One dead target, and what becomes of runs that want it; seen by its own machine and over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from agent.domain.events import Event, TargetAnswered, TargetSilent
from agent.domain.json import JsonObject
from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.executors.http_breaker import BreakerRule
from agent.executors.http_targets import FORGOTTEN_AFTER_S, MAX_TARGETS, Targets, TargetSilentError
from agent.net.errors import AddressRefusedError, CertificateError
from tests.executors.http_server import executor, run_of
from tests.net.servers import OK, RawServer, Talk, answers, raw_server, until


@dataclass
class Stage:
    """The targets, a clock that stands still, and what was told. Two failures in a row are too many here."""

    now_s: float = 1_000.0
    told: list[Event] = field(default_factory=list)
    failures: int = 2

    def __post_init__(self) -> None:
        self.targets = Targets(BreakerRule(self.failures), self, self)

    def monotonic(self) -> float:
        return self.now_s

    def epoch(self) -> float:
        return 1_800_000_000.0 + self.now_s

    def notify(self, event: Event) -> None:
        self.told.append(event)

    def fails(self, url: str, error: httpx.TransportError | None = None) -> None:
        with self.targets.attempt(httpx.URL(url)) as attempt:
            attempt.failed(error or httpx.ReadTimeout(f"{url} did not answer in time"))

    def answers(self, url: str) -> None:
        with self.targets.attempt(httpx.URL(url)) as attempt:
            attempt.answered()

    def refused(self, url: str) -> str:
        with pytest.raises(TargetSilentError) as raised, self.targets.attempt(httpx.URL(url)):
            pass
        return str(raised.value)


def test_a_refusal_says_what_since_when_why_and_until_when() -> None:
    stage = Stage()
    stage.fails("https://user:pw@ops.internal/a?token=x", httpx.ReadTimeout("silence"))
    stage.now_s += 60
    stage.fails("https://ops.internal/b", httpx.ConnectError("cannot connect"))
    assert stage.refused("https://ops.internal:443/c") == (
        "ops.internal:443 has not answered 2 requests in a row since 2027-01-15 08:16:40 UTC, "
        "last: cannot connect; it is tried again from 2027-01-15 08:17:45 UTC on"
    )
    assert stage.told == [TargetSilent("ops.internal:443", 2, "cannot connect", 5.0, 1)]


def test_while_a_probe_is_under_way_the_others_are_told_so() -> None:
    stage = Stage()
    stage.fails("http://a/")
    stage.fails("http://a/")
    stage.now_s += 5
    with stage.targets.attempt(httpx.URL("http://a/")):
        assert "another run is trying it now" in stage.refused("http://a/")
    stage.answers("http://a/")
    assert stage.told[1:] == [TargetAnswered("a:80", answered=True, silent_targets=0)]
    stage.answers("http://a/")


def test_scheme_host_and_port_tell_targets_apart_and_nothing_else_does() -> None:
    stage = Stage()
    for path in ("/x", "/y?q=1"):
        stage.fails(f"http://a:8080{path}")
    for other in ("https://a:8080/", "http://a:8081/", "http://b:8080/"):
        stage.answers(other)
    stage.refused("http://A:8080/z")


def test_any_answer_in_between_begins_the_count_anew() -> None:
    stage = Stage()
    for _ in range(5):
        stage.fails("http://a/")
        stage.answers("http://a/")
    assert stage.told == []


def test_what_was_begun_before_an_answer_does_not_tell_against_the_target_after_it() -> None:
    stage = Stage()
    with ExitStack() as under_way:
        attempts = [under_way.enter_context(stage.targets.attempt(httpx.URL("http://a/"))) for _ in range(5)]
        stage.answers("http://a/")
        for attempt in attempts:
            attempt.failed(httpx.ReadTimeout("late"))
    stage.answers("http://a/")
    assert stage.told == []


def test_a_late_answer_to_an_early_attempt_closes_the_breaker() -> None:
    stage = Stage()
    with stage.targets.attempt(httpx.URL("http://a/")) as early:
        stage.fails("http://a/")
        stage.fails("http://a/")
        stage.refused("http://a/")
        early.answered()
    stage.answers("http://a/")


@pytest.mark.parametrize(
    "error",
    [AddressRefusedError("x"), CertificateError("x"), httpx.LocalProtocolError("x"), httpx.PoolTimeout("x")],
    ids=lambda error: type(error).__name__,
)
def test_the_agents_own_verdict_tells_nothing_against_a_target(error: httpx.TransportError) -> None:
    stage = Stage()
    for _ in range(5):
        stage.fails("https://a/", error)
    assert stage.told == []


def test_a_certificate_that_is_not_trusted_is_an_answer_all_the_same() -> None:
    stage = Stage()
    stage.fails("https://a/")
    stage.fails("https://a/")
    stage.now_s += 5
    stage.fails("https://a/", CertificateError("self-signed"))
    stage.answers("https://a/")


def test_zero_failures_switches_it_off() -> None:
    stage = Stage(failures=0)
    for _ in range(50):
        stage.fails("http://a/")
    assert stage.told == []


def test_it_never_knows_more_than_so_many_targets() -> None:
    stage = Stage()
    for n in range(3 * MAX_TARGETS):
        stage.fails(f"http://host-{n}.example/")
    assert len(stage.targets._known) == MAX_TARGETS


def test_a_target_that_nobody_calls_is_forgotten_and_the_count_of_silent_ones_goes_down() -> None:
    stage = Stage()
    for url in ("http://a/", "http://a/", "http://b/", "http://b/"):
        stage.fails(url)
    stage.now_s += FORGOTTEN_AFTER_S - 1
    stage.fails("http://b/")
    stage.now_s += 2
    stage.answers("http://c/")
    assert stage.told[-1] == TargetAnswered("a:80", answered=False, silent_targets=1)
    stage.answers("http://a/")


# ── over real connections ────────────────────────────────────────────────────────────────────────────


def _silent(seen: RawServer) -> Talk:
    """Accepts, reads, and never answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await seen.read_head(reader)
        await reader.read()

    return talk


def _never_ends(seen: RawServer) -> Talk:
    """Begins to answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read_head(reader)
        writer.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 10\r\n\r\nx")
        await reader.read()

    return talk


def _silent_at_first(times: int) -> Callable[[RawServer], Talk]:
    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            if len(seen.heads) <= times:
                await reader.read()
            writer.write(OK)
            with suppress(ConnectionError):
                await writer.drain()

        return talk

    return for_server


OPTIONS: JsonObject = {"mode": "sync", "timeout": "100ms", "body": None}


async def _outcomes(count: int, url: str, options: JsonObject, failures: int = 3) -> list[Outcome]:
    """Those of so many runs, one after the other."""
    async with executor(options, http_breaker_failures=failures) as http:
        return [await http.execute(run_of(url)) for _ in range(count)]


def test_runs_for_a_target_that_is_silent_end_at_once_with_the_reason() -> None:
    async def scenario() -> None:
        async with raw_server(_silent) as server:
            outcomes = await _outcomes(6, server.url(), OPTIONS)
        assert len(server.heads) == 3
        *_, last = outcomes
        assert isinstance(last, Failed)
        assert last.kind is FailureKind.TARGET_SILENT
        assert "was not sent: 127.0.0.1:" in last.reason
        assert "has not answered 3 requests in a row since" in last.reason
        assert "did not answer in time" in last.reason

    asyncio.run(scenario())


def test_an_answer_of_any_status_and_a_body_that_never_ends_are_signs_of_life() -> None:
    async def scenario() -> None:
        async with raw_server(_never_ends) as server:
            outcomes = await _outcomes(6, server.url(), OPTIONS)
        assert len(server.heads) == 6
        assert all(isinstance(o, Failed) and o.kind is FailureKind.TIMED_OUT for o in outcomes)

    asyncio.run(scenario())


def test_a_refused_connection_counts_and_attempts_within_one_run_do_too() -> None:
    async def scenario() -> None:
        async with raw_server(answers(OK)) as closed:
            url = closed.url()
        first, second = await _outcomes(2, url, {"mode": "sync"})
        assert isinstance(first, Failed)
        assert isinstance(second, Failed)
        assert (first.kind, second.kind) == (FailureKind.CONNECTION, FailureKind.TARGET_SILENT)

    asyncio.run(scenario())


def test_a_run_that_repeats_by_default_ends_as_soon_as_its_target_is_given_up() -> None:
    async def scenario() -> None:
        async with raw_server(_silent) as server, executor(OPTIONS, http_breaker_failures=2) as http:
            run = run_of(server.url(), method="GET")
            outcome = await http.execute(run)
            assert len(server.heads) == 2
        assert isinstance(outcome, Failed)
        assert outcome.kind is FailureKind.TARGET_SILENT
        assert run.retries == ["timeout", "timeout"]

    asyncio.run(scenario())


def test_where_the_route_says_retry_what_was_not_sent_counts_as_an_attempt_and_is_tried_again() -> None:
    async def scenario() -> None:
        async with (
            raw_server(_silent) as server,
            executor({**OPTIONS, "retry": 3}, http_breaker_failures=1) as http,
        ):
            assert isinstance(await http.execute(run_of(server.url())), Failed)
            run = run_of(server.url())
            outcome = await http.execute(run)
            assert len(server.heads) == 1
        assert isinstance(outcome, Failed)
        assert outcome.kind is FailureKind.TARGET_SILENT
        assert run.retries == ["silent"] * 3

    asyncio.run(scenario())


def test_a_probe_that_is_answered_lets_all_through_again() -> None:
    async def scenario() -> None:
        async with raw_server(_silent_at_first(2)) as server, executor(OPTIONS, http_breaker_failures=2) as http:
            for _ in range(2):
                assert isinstance(await http.execute(run_of(server.url())), Failed)
            http._targets._clock = _Later()
            many = [await http.execute(run_of(server.url())) for _ in range(3)]
        assert many == [Succeeded()] * 3

    asyncio.run(scenario())


class _Later:
    """A clock that is a minute ahead."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + 60

    def epoch(self) -> float:
        return 0.0


def test_a_run_whose_own_time_is_up_counts_and_one_that_is_stopped_does_not() -> None:
    async def cancelled(timeout_s: float) -> Outcome:
        """After a run that was cancelled while it waited, another one."""
        async with raw_server(_silent) as server, executor(OPTIONS, http_breaker_failures=1) as http:
            task = asyncio.create_task(http.execute(run_of(server.url(), timeout_s=timeout_s)))
            await until(lambda: bool(server.heads))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await http.execute(run_of(server.url()))

    for timeout_s, kind in ((0.0, FailureKind.TARGET_SILENT), (60.0, FailureKind.TIMED_OUT)):
        outcome = asyncio.run(cancelled(timeout_s))
        assert isinstance(outcome, Failed)
        assert outcome.kind is kind
