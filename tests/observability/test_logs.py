"""The agent's own log: its form, and that no secret ever stands in it."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from agent.domain.redaction import LOG_MASK, MASK
from agent.observability.logs import LogFormat, configure, log_stray_errors

SECRET = "s3cr3t-val\"ue\\with'quotes"
LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS: tuple[LogFormat, ...] = ("json", "console")


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def assert_masked(text: str, *, times: int = 1) -> None:
    escaped = json.dumps(SECRET)[1:-1]
    assert SECRET not in text
    assert escaped not in text
    assert repr(SECRET)[1:-1] not in text
    assert text.count(MASK) >= times


def test_a_json_line_has_time_level_and_event_first_and_only_keys_with_values() -> None:
    stream = io.StringIO()
    configure("json", "info", stream=stream)

    structlog.get_logger().info(
        "run started", run_id="r_1", route="créer", action=None, detail="", waited_s=0, level=7, timestamp="now"
    )

    (line,) = json_lines(stream)
    assert list(line) == ["timestamp", "level", "event", "run_id", "route", "waited_s"]
    assert (line["level"], line["event"], line["waited_s"]) == ("info", "run started", 0)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])).total_seconds()) < 60
    assert line["timestamp"].endswith("Z")
    assert '"route":"créer"' in stream.getvalue()


def test_what_a_run_masks_is_masked_in_the_lines_of_its_context_and_in_no_other() -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)

    with structlog.contextvars.bound_contextvars(
        **{LOG_MASK: lambda text: text.replace("hunter2", MASK).replace("4711", MASK)}
    ):
        structlog.get_logger().info("hunter2", count=2, ok=True, at=["a", "hunter2"], pin=4711, masked=True)
        try:
            dict[str, str]().pop("log in with hunter2")
        except KeyError:
            logging.getLogger("my.action").exception("with hunter2")
    structlog.get_logger().info("hunter2")

    first, second, third = json_lines(stream)
    assert (first["event"], first["count"], first["ok"]) == (MASK, 2, True)
    assert (first["pin"], first["masked"]) == (MASK, True)
    assert LOG_MASK not in first
    assert "hunter2" not in json.dumps([first, second])
    assert "KeyError" in second["exception"]
    assert third["event"] == "hunter2"


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"run_id": "r_1", "count": 3}, {"run_id": "r_1", "count": 3}),
        ({"run_id": "hunter2", "count": 3}, {"run_id": MASK, "count": 3}),
        ({"run_id": "r_1", "hunter2": 3}, {"run_id": "r_1", MASK: 3}),
        ({"run_id": "of-the-agent", "count": 3}, {"run_id": MASK, "count": 3}),
        ({"run_id": "r_1", "of-the-agent": 3}, {"run_id": "r_1", MASK: 3}),
        ({"run_id": "of-the-agent hunter2", "count": 3.5}, {"run_id": f"{MASK} {MASK}", "count": 3.5}),
    ],
)
def test_a_plain_line_is_masked_wherever_a_secret_stands_in_it(
    about: dict[str, object], expected: dict[str, object]
) -> None:
    stream = io.StringIO()
    configure("json", "INFO", ["of-the-agent"], stream=stream)

    with structlog.contextvars.bound_contextvars(**{LOG_MASK: lambda text: text.replace("hunter2", MASK)}):
        structlog.get_logger().info("told", **about)

    [line] = json_lines(stream)
    assert {name: line[name] for name in line.keys() - {"timestamp", "level", "event"}} == expected


def test_an_error_that_nobody_handled_is_told_without_its_words() -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)

    async def leave_a_task_behind() -> None:
        async def broken() -> None:
            dict[str, str]().pop("log in with hunter2")

        log_stray_errors(asyncio.get_running_loop())
        task = asyncio.ensure_future(broken())
        await asyncio.wait([task])
        del task
        gc.collect()
        asyncio.get_running_loop().call_exception_handler({"message": "something else"})

    asyncio.run(leave_a_task_behind())
    first, second = json_lines(stream)
    assert first["event"] == "an error that nobody handled"
    assert first["detail"] == "Task exception was never retrieved"
    assert first["error"] == "KeyError"
    assert first["place"].endswith("in broken")
    assert "hunter2" not in stream.getvalue()
    assert second["detail"] == "something else"
    assert "error" not in second


def test_run_and_route_that_are_bound_stand_in_every_line() -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)

    with structlog.contextvars.bound_contextvars(run_id="r_7", route="create"):
        structlog.get_logger().info("one")
        logging.getLogger("agent.somewhere").info("two %s", "parts")
    structlog.get_logger().info("three")

    one, two, three = json_lines(stream)
    assert (one["run_id"], one["route"]) == (two["run_id"], two["route"]) == ("r_7", "create")
    assert two["event"] == "two parts"
    assert "run_id" not in three


@pytest.mark.parametrize("level", LEVELS)
def test_lines_below_the_level_are_not_written(level: str) -> None:
    stream = io.StringIO()
    configure("json", level.upper(), stream=stream)

    for name in LEVELS:
        getattr(structlog.get_logger(), name)(name)
        getattr(logging.getLogger("agent.room"), name)(name)

    expected = LEVELS[LEVELS.index(level) :]
    assert [line["event"] for line in json_lines(stream)] == [name for name in expected for _ in range(2)]


@pytest.mark.parametrize("level", ["", "LOUD", "NOTSET", "10"])
def test_an_unknown_level_is_refused_by_name(level: str) -> None:
    with pytest.raises(ValueError, match="use DEBUG, INFO, WARNING, ERROR or CRITICAL"):
        configure("json", level, stream=io.StringIO())


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_secret_is_masked_at_every_level_in_every_place(log_format: LogFormat, level: str) -> None:
    stream = io.StringIO()
    configure(log_format, "DEBUG", [SECRET], stream=stream)

    getattr(structlog.get_logger(), level)(
        f"event {SECRET}",
        text=f"a {SECRET} b",
        nested={"list": [SECRET, {SECRET: (SECRET,)}]},
        foreign=Exception(SECRET),
        encoded=base64.b64encode(SECRET.encode()).decode(),
    )

    assert_masked(stream.getvalue(), times=6)
    assert base64.b64encode(SECRET.encode()).decode() not in stream.getvalue()


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_secret_is_masked_in_exceptions_and_their_causes(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure(log_format, "INFO", [SECRET], stream=stream)

    for log in (structlog.get_logger(), logging.getLogger("some.library")):
        try:
            _break(SECRET)
        except RuntimeError:
            log.exception("broken")

    assert stream.getvalue().count("RuntimeError: could not use") == 2
    assert stream.getvalue().count("Traceback") == 4
    assert_masked(stream.getvalue(), times=4)


def test_a_secret_that_is_learnt_later_is_masked_from_then_on() -> None:
    stream = io.StringIO()
    redactor = configure("json", "INFO", stream=stream)

    redactor.add(SECRET)
    structlog.get_logger().info(f"token {SECRET}", count=3)

    assert_masked(stream.getvalue())


def test_other_libraries_are_heard_from_warnings_up_even_while_debugging() -> None:
    stream = io.StringIO()
    configure("json", "DEBUG", [SECRET], stream=stream)
    library = logging.getLogger("httpx")

    library.debug("GET https://host/?token=x")
    library.info("HTTP Request: GET https://host/?token=x")
    library.warning("odd: %s", SECRET)
    library.log(35, "a level in between")

    first, second = json_lines(stream)
    assert (first["level"], first["logger"], first["event"]) == ("warning", "httpx", f"odd: {MASK}")
    assert (second["level"], second["event"]) == ("warning", "a level in between")


def test_a_line_that_cannot_be_formatted_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)

    logging.getLogger("some.library").warning("%d numbers", "no")
    structlog.get_logger().info("next", weird=float("nan"), what=object)

    (line,) = json_lines(stream)
    assert line["event"] == "next"
    assert "Logging error" in capsys.readouterr().err


def test_one_event_is_one_line_whatever_it_contains() -> None:
    for log_format in FORMATS:
        stream = io.StringIO()
        configure(log_format, "INFO", stream=stream)

        structlog.get_logger().info("first\nsecond", action="\x1b[2J\x1b]0;title\x07\nfake line \u202eesrever")

        assert stream.getvalue().count("\n") == 1
        assert "\x1b" not in stream.getvalue()
        assert "\x07" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


def test_the_console_keeps_the_lines_of_a_traceback() -> None:
    stream = io.StringIO()
    configure("console", "INFO", stream=stream)

    try:
        int("bad\x1b[31m\x1b")
    except ValueError:
        structlog.get_logger().exception("broken", run_id="r_1")

    lines = stream.getvalue().splitlines()
    assert "broken" in lines[0]
    assert "r_1" in lines[0]
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1].startswith("ValueError: invalid literal")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("text", ["\ud800 lone", "日本", "é 😀"])
def test_every_character_reaches_every_stream(encoding: str, text: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    configure("json", "INFO", stream=stream)

    structlog.get_logger().info("x", text=text, nested=[text])

    line = json.loads(raw.getvalue().decode(encoding))
    assert (line["text"], line["nested"]) == (text, [text])


def test_the_console_escapes_what_its_stream_cannot_carry() -> None:
    raw = io.BytesIO()
    configure("console", "INFO", stream=io.TextIOWrapper(raw, encoding="ascii"))

    structlog.get_logger().info("日本")

    assert rb"\u65e5\u672c" in raw.getvalue()


def test_a_stream_that_is_gone_breaks_nobody() -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)
    stream.close()

    structlog.get_logger().info("nobody reads this")


def test_lines_of_many_threads_stay_whole() -> None:
    stream = io.StringIO()
    configure("json", "INFO", stream=stream)

    def work(number: int) -> None:
        for turn in range(200):
            structlog.get_logger().info("turn", worker=number, turn=turn, filling="x" * 100)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({(line["worker"], line["turn"]) for line in json_lines(stream)}) == 800


def test_lines_go_to_standard_output_by_default() -> None:
    program = (
        "import logging, structlog\n"
        "from agent.observability.logs import configure\n"
        "configure('json', 'INFO')\n"
        "structlog.get_logger().info('hello')\n"
        "logging.getLogger('lib').error('also')\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()] == ["hello", "also"]
    assert ended.stderr == ""


def _break(text: str) -> None:
    empty: dict[str, str] = {}
    try:
        empty.pop(text)
    except KeyError as error:
        raise RuntimeError(f"could not use {text}") from error
