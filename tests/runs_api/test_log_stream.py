"""How a run's output becomes few requests: over virtual minutes, with an API that only remembers."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.domain.events import LogDropped, LogSent, LogTruncated
from agent.domain.redaction import MASK, Redactor
from agent.runs_api.connection import Answer, Unanswered
from agent.runs_api.exchange import Reply
from agent.runs_api.lines import LineCutter, clean
from agent.runs_api.log_buffer import Batch, LogLimits
from agent.runs_api.log_stream import RunLog
from tests.runs_api.rig import Facts
from tests.runs_api.virtual_time import LoopClock, run_virtually


def reply(status_code: int = 201) -> Reply:
    return Reply(status_code, httpx.Headers(), None, "", 0.0, None)


@dataclass
class Port:
    """Takes batches. ``latency_s`` per request; ``answer`` decides by the batch."""

    latency_s: float = 0.02
    answer: Callable[[Batch], Answer] = lambda _: reply()
    scarce: bool = False
    facts: Facts = field(default_factory=Facts)
    sent: list[tuple[float, Batch]] = field(default_factory=list)
    under_way: int = 0
    tasks: int = 0

    async def send(self, batch: Batch) -> Answer:
        assert self.under_way == 0, "two requests of one run at once"
        self.under_way += 1
        self.sent.append((asyncio.get_running_loop().time(), batch))
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.under_way -= 1
        return self.answer(batch)

    def log(self, limits: LogLimits | None = None, *secrets: str) -> RunLog:
        def spawn(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
            self.tasks += 1
            return asyncio.create_task(work)

        return RunLog(
            self.send,
            lambda: self.scarce,
            Redactor(secrets),
            self.facts,
            LoopClock(),
            limits or LogLimits(),
            spawn=spawn,
        )

    @property
    def taken(self) -> list[str]:
        """The lines of the batches that were taken, in order."""
        return [line for _, batch in self.sent if self._ok(batch) for line in batch.text.split("\n")]

    def _ok(self, batch: Batch) -> bool:
        answer = self.answer(batch)
        return isinstance(answer, Reply) and answer.ok


def play(scenario: Callable[[Port], Awaitable[None]], port: Port | None = None) -> Port:
    port = port or Port()

    async def run() -> None:
        await scenario(port)

    run_virtually(run())
    return port


def test_a_quiet_run_sends_nothing() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.stream().write(b"")
        await asyncio.sleep(3600)
        assert await log.finish(20) == 0

    port = play(scenario)
    assert port.sent == []
    assert port.facts.events == []


@pytest.mark.parametrize("size", [10, 20_000, 40_000])
def test_a_run_shorter_than_a_second_sends_its_log_once_at_the_end(size: int) -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        for _ in range(9):
            await asyncio.sleep(0.1)
            log.stream().write(b"x" * (size // 9) + b"\n")
        assert await log.finish(20) == 0

    assert len(play(scenario).sent) == 1


@pytest.mark.parametrize("width", [5, 50, 95, 250])
def test_ten_thousand_lines_over_a_minute_are_at_most_seventy_requests_and_none_is_lost(width: int) -> None:
    lines = [f"{n:05d} " + "x" * width for n in range(10_000)]

    async def scenario(port: Port) -> None:
        log = port.log(LogLimits(head_bytes=16 * 2**20))
        stream = log.stream()
        for line in lines:
            stream.write(line.encode() + b"\n")
            await asyncio.sleep(0.006)
        assert await log.finish(20) == 0

    port = play(scenario)
    assert port.taken == lines
    assert len(port.sent) <= 70
    assert sum(event.lines for event in port.facts.of(LogSent)) == 10_000


def test_a_line_is_shown_within_a_second_and_in_older_runs_within_five() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        now_s = asyncio.get_running_loop().time
        for age_s, bound_s in ((0, 1.1), (30, 1.1), (100, 5.0), (5000, 5.0)):
            await asyncio.sleep(max(0, 1000 + age_s - now_s()))
            log.write_text(f"at {age_s}", "INFO")
            written_s, before = now_s(), len(port.sent)
            await asyncio.sleep(6)
            assert len(port.sent) == before + 1
            assert port.sent[-1][0] - written_s <= bound_s
        await log.finish(20)

    assert len(play(scenario).sent) == 4


def test_a_chatty_run_of_an_hour_stays_cheap_and_cheaper_still_when_requests_are_scarce() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        for n in range(3600):
            log.write_text(f"line {n}", "INFO")
            await asyncio.sleep(1)
        await log.finish(20)

    usual, scarce = len(play(scenario).sent), len(play(scenario, Port(scarce=True)).sent)
    assert usual <= 60 + 3600 / 4 + 1
    assert scarce < usual / 3


def test_a_flood_is_capped_and_keeps_its_end() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        stream = log.stream()
        chunk = b"".join(b"line %06d\n" % n for n in range(5000))
        for _ in range(200):
            stream.write(chunk)
            await asyncio.sleep(0)
        assert await log.finish(20) == 0

    port = play(scenario)
    assert port.taken[:5000] == [f"line {n:06d}" for n in range(5000)]
    assert port.taken[-1] == "line 004999"
    left_out = next(line for line in port.taken if line.endswith("left out …"))
    assert left_out.startswith("… 9")
    assert sum(len(line) + 1 for line in port.taken) < 1.1 * 2**20 + 64 * 1024
    assert len(port.sent) <= 30
    assert port.facts.of(LogTruncated) == [LogTruncated("run_cap")]
    (dropped,) = port.facts.of(LogDropped)
    sent = sum(event.lines for event in port.facts.of(LogSent))
    assert dropped.reason == "cap"
    assert sent - 2 + dropped.lines == 1_000_000  # two lines are notes of ours


def test_while_port_is_away_memory_stays_bounded_and_writing_never_blocks() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        stream = log.stream()
        for _ in range(2000):
            stream.write(b"x" * 999 + b"\n" + b"y" * 5000)
        assert log._buffer.waiting_bytes < 1.01 * 2**20
        assert await log.finish(20) > 0
        assert asyncio.get_running_loop().time() < 1021

    play(scenario, Port(latency_s=1e6))


@pytest.mark.parametrize("status_code", [400, 413])
def test_a_message_that_is_too_long_is_halved_until_it_fits(status_code: int) -> None:
    lines = [f"line {n:04d} " + "x" * 90 for n in range(400)]
    too_long = Port(answer=lambda batch: reply(status_code if batch.size_bytes > 5000 else 201))

    async def scenario(port: Port) -> None:
        log = port.log()
        for line in lines:
            log.write_text(line, "INFO")
        assert await log.finish(20) == 0

    port = play(scenario, too_long)
    assert port.taken == lines
    refused = [batch for _, batch in port.sent if batch.size_bytes > 5000]
    assert len(refused) <= 4
    assert port.facts.of(LogDropped) == []


@pytest.mark.parametrize("status_code", [400, 401, 403, 404, 409, 413, 422])
def test_a_closed_run_is_left_alone_at_once_and_what_it_still_says_is_counted(status_code: int) -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("a\nb", "INFO")
        await asyncio.sleep(2)
        assert len(port.sent) == 1
        log.write_text("c", "INFO")
        await asyncio.sleep(10)
        assert await log.finish(20) == 0

    port = play(scenario, Port(answer=lambda _: reply(status_code)))
    assert len(port.sent) == 1
    assert port.facts.events == [LogDropped(3, "refused")]


def test_the_last_flush_is_bounded_and_tells_what_is_missing() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("a\nb", "INFO")
        await asyncio.sleep(2)
        log.write_text("c", "INFO")
        began_s = asyncio.get_running_loop().time()
        assert await log.finish(20) == 3
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(20)
        assert port.under_way == 0
        log.write_text("late", "INFO")
        log.abandon()

    port = play(scenario, Port(latency_s=1e6))
    assert port.facts.events == [LogDropped(3, "undelivered")]


def test_a_flush_under_way_can_be_hurried_but_not_slowed() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.hurry(1)
        log.write_text("a", "INFO")
        task = asyncio.create_task(log.finish(20))
        await asyncio.sleep(1)
        log.hurry(2)
        log.hurry(60)
        began_s = asyncio.get_running_loop().time()
        assert await task == 1
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(2)

    play(scenario, Port(latency_s=1e6))


def test_no_answer_at_the_deadline_counts_as_not_uploaded() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("a\nb", "INFO")
        assert await log.finish(20) == 2

    port = play(scenario, Port(answer=lambda _: Unanswered("away")))
    assert port.facts.events == [LogDropped(2, "undelivered")]


def test_streams_are_masked_apart_and_their_lines_interleave_as_they_end() -> None:
    async def scenario(port: Port) -> None:
        log = port.log(None, "hunter2-hunter2")
        out, err = log.stream(), log.stream()
        out.write(b"out hunter2-")
        err.write(b"err hunter2-hunter2\n")
        out.write(b"hunter2\nlast hunter2")
        out.close()
        out.close()
        out.write(b"late\n")
        err.write(b"no end")
        assert await log.finish(20) == 0

    assert play(scenario).taken == [f"err {MASK}", f"out {MASK}", "last hunter2", "no end"]


def test_levels_are_those_that_port_knows() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        for level in ("debug", "INFO", "Warning", "WARN", "error", "CRITICAL", "odd"):
            log.write_text(level, level)
        log.write_text("", "INFO")
        log.write_text("two\r\nlines\n", "INFO")
        await log.finish(20)

    port = play(scenario)
    ((_, batch),) = port.sent
    assert [(block.level, block.text) for block in batch.blocks] == [
        ("DEBUG", "debug"),
        ("INFO", "INFO"),
        ("WARN", "Warning\nWARN"),
        ("ERROR", "error\nCRITICAL"),
        ("INFO", "odd\n\ntwo\nlines"),
    ]


def test_a_long_line_is_cut_and_told_once() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("x" * 20_000, "INFO")
        stream = log.stream()
        stream.write(b"y" * 2**20 + b"\n")
        await log.finish(20)

    port = play(scenario)
    first, second = port.taken
    assert first == "x" * 16_384 + " … 3,616 characters left out …"
    assert second == "y" * 16_384 + " … 1,032,192 characters left out …"
    assert port.facts.of(LogTruncated) == [LogTruncated("line_cap")]


@given(st.text("ab \t\r\n\u2028\x1b[0m\xad\ud800ü😀", max_size=8))
@example("")
@example("abcde")
@example("abcdef")
def test_a_text_looks_as_it_would_in_a_programs_output(text: str) -> None:
    async def scenario(port: Port) -> None:
        log = port.log(LogLimits(line_chars=5))
        log.write_text(text, "INFO")
        await log.finish(20)

    port = play(scenario)
    cutter = LineCutter(5)
    lines = [*cutter.feed(text.encode("utf-8", "replace")), *cutter.close()] or [""]
    assert port.taken == [clean(line) for line in lines]
    assert bool(port.facts.of(LogTruncated)) == bool(cutter.cuts)


def test_cancelling_the_last_flush_lets_go() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("a", "INFO")
        task = asyncio.create_task(log.finish(20))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        log.abandon()
        await asyncio.sleep(1)
        assert port.under_way == 0

    assert play(scenario, Port(latency_s=1e6)).facts.of(LogDropped) == [LogDropped(1, "closed")]


def test_a_log_that_is_finished_while_it_is_young_needs_no_task_however_long_that_takes() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("early", "INFO")
        finishing = asyncio.create_task(log.finish(20))
        for text in ("late", "later"):
            await asyncio.sleep(1.5)
            log.write_text(text, "INFO")
        assert await finishing == 0
        assert port.tasks == 0

    assert play(scenario, Port(latency_s=5)).taken == ["early", "late", "later"]


def test_one_that_is_abandoned_while_it_is_young_needs_no_task() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("early", "INFO")
        log.abandon()
        await asyncio.sleep(10)
        assert port.tasks == 0

    assert not play(scenario).sent


def test_one_that_becomes_large_while_it_is_young_has_one_task() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        for _ in range(100):
            log.write_text("x" * 1000, "INFO")
            await asyncio.sleep(0.005)
        await asyncio.sleep(10)
        assert port.tasks == 1
        assert await log.finish(20) == 0

    play(scenario)


def test_abandoning_it_ends_the_last_flush_and_its_request() -> None:
    async def scenario(port: Port) -> None:
        log = port.log()
        log.write_text("a\nb", "INFO")
        task = asyncio.create_task(log.finish(20))
        await asyncio.sleep(1)
        began_s = asyncio.get_running_loop().time()
        log.abandon()
        log.abandon()
        assert await task == 0
        assert asyncio.get_running_loop().time() == began_s
        assert port.under_way == 0

    assert play(scenario, Port(latency_s=1e6)).facts.events == [LogDropped(2, "closed")]


@pytest.mark.parametrize("age_s", [0.5, 2.0])
def test_a_defect_costs_the_log_and_not_the_end(age_s: float) -> None:
    def fail(_: Batch) -> Answer:
        raise ValueError("a defect")

    async def scenario(port: Port) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        log = port.log()
        log.write_text("a", "INFO")
        await asyncio.sleep(age_s)
        assert await log.finish(20) == 1

    told: list[BaseException] = []
    assert play(scenario, Port(answer=fail)).facts.events == [LogDropped(1, "undelivered")]
    gc.collect()  # the loop hears of a task's error once nobody has the task any more
    assert [str(error) for error in told] == ["a defect"]
