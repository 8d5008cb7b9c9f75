"""Lines of the event loop's thread, many at a time."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import structlog
import uvloop

from agent.observability.lines import Lines
from agent.observability.logs import configure, gathered_lines


class Counting(io.StringIO):
    """A stream that knows how often it was flushed."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1
        super().flush()


def test_lines_of_one_turn_are_one_write_at_its_end() -> None:
    stream = Counting()
    lines = Lines(stream)

    async def talk() -> None:
        with lines.gathered(asyncio.get_running_loop()):
            for number in range(3):
                lines.info(f"first turn {number}")
            assert stream.getvalue() == ""
            await asyncio.sleep(0)
            assert stream.getvalue() == "first turn 0\nfirst turn 1\nfirst turn 2\n"
            assert stream.flushes == 1
            lines.info("second turn")
            await asyncio.sleep(0)
            assert stream.flushes == 2

    asyncio.run(talk())
    assert stream.getvalue().endswith("second turn\n")


def test_what_another_thread_says_takes_along_what_waits_in_order() -> None:
    stream = io.StringIO()
    lines = Lines(stream)

    async def block() -> None:
        with lines.gathered(asyncio.get_running_loop()):
            lines.info("of the loop")
            other = threading.Thread(target=lines.warning, args=("of the watch",))
            other.start()
            other.join()  # blocks the loop, as an action may
            assert stream.getvalue() == "of the loop\nof the watch\n"

    asyncio.run(block())
    assert stream.getvalue() == "of the loop\nof the watch\n"


def test_what_waits_is_written_as_the_gathering_ends_and_then_each_line_at_once() -> None:
    stream = io.StringIO()
    lines = Lines(stream)

    async def leave() -> None:
        with lines.gathered(asyncio.get_running_loop()):
            lines.info("waits")
        assert stream.getvalue() == "waits\n"
        lines.info("at once")
        assert stream.getvalue() == "waits\nat once\n"

    asyncio.run(leave())


def test_a_turn_that_says_much_writes_before_its_end() -> None:
    stream = io.StringIO()
    lines = Lines(stream)

    async def chatter() -> None:
        with lines.gathered(asyncio.get_running_loop()):
            for number in range(1200):
                lines.info(str(number))
            assert len(stream.getvalue().splitlines()) == 1000

    asyncio.run(chatter())
    assert stream.getvalue().split() == [str(number) for number in range(1200)]


def test_one_line_that_the_stream_cannot_carry_costs_no_other() -> None:
    raw = io.BytesIO()
    lines = Lines(io.TextIOWrapper(raw, encoding="latin-1", newline="\n"))

    async def talk() -> None:
        with lines.gathered(asyncio.get_running_loop()):
            lines.info("plain")
            lines.info("häuser")
            lines.info("家")

    asyncio.run(talk())
    assert raw.getvalue().decode("latin-1").splitlines() == ["plain", "häuser", "\\u5bb6"]


def test_what_is_said_in_the_midst_of_a_write_comes_after_it() -> None:
    """As by the destructor of a task that nobody waited for: it runs wherever garbage is found."""

    class Talking(io.StringIO):
        to_say = ["of a destructor"]  # noqa: RUF012 - of one stream

        def write(self, text: str) -> int:
            while self.to_say:
                lines.error(self.to_say.pop())
            return super().write(text)

    def talk() -> None:
        lines.info("of whoever talks")

    lines = Lines(stream := Talking())
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert stream.getvalue() == "of whoever talks\nof a destructor\n"


_FORKING = """
import asyncio, os, sys, threading
from agent.observability.lines import Lines

async def fork():
    with lines.gathered(asyncio.get_running_loop()):
        lines.info("of the parent")
        lines._lock.acquire()
        if (child := os.fork()) == 0:
            thread = threading.Thread(target=lines.info, args=("of a thread of the child",), daemon=True)
            thread.start()
            thread.join(10)
            lines.info("of the child")
            os._exit(0)
        os.waitpid(child, 0)
        lines._lock.release()

lines = Lines(sys.stdout)
asyncio.run(fork())
"""


def test_a_forked_process_writes_its_own_lines_and_no_other() -> None:
    """As where an action uses processes that `multiprocessing` forks."""
    ran = subprocess.run([sys.executable, "-c", _FORKING], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == ["of a thread of the child", "of the child", "of the parent"]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_breaks_off_loses_no_line_and_the_next_one_gathers_again(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def break_off() -> None:
        asyncio.get_running_loop().call_soon(sys.exit)
        lines.info("last words")  # are due after that
        await asyncio.sleep(10)

    async def talk() -> None:
        lines.info("another turn")
        await asyncio.sleep(0)
        assert stream.getvalue().endswith("another turn\n")

    lines = Lines(stream := io.StringIO())
    with asyncio.Runner(loop_factory=new_loop) as runner:
        with pytest.raises(SystemExit), lines.gathered(runner.get_loop()):
            runner.run(break_off())
        assert stream.getvalue() == "last words\n"
        with asyncio.Runner(loop_factory=new_loop) as other, lines.gathered(other.get_loop()):
            other.run(talk())


def test_the_log_of_a_process_is_gathered() -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)

    async def talk() -> None:
        with gathered_lines(asyncio.get_running_loop()):
            structlog.get_logger().info("one")
            structlog.get_logger().info("two")
            assert stream.getvalue() == ""

    asyncio.run(talk())
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["one", "two"]
