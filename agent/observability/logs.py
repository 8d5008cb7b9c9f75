"""The agent's own log: one line per fact, JSON or for a terminal, and no secret in any of them.

Everything goes to one stream, stdout unless told otherwise, which is where containers are listened to. Lines
of other libraries come out in the same form.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from agent.domain.json import compact
from agent.domain.redaction import LOG_MASK, Redactor
from agent.observability.lines import Lines

LogFormat = Literal["json", "console"]


def configure(
    log_format: LogFormat, level: str, secrets: Iterable[str] = (), *, stream: TextIO | None = None
) -> Redactor:
    """Sets structlog and the standard library's logging up for the whole process; the last call wins.

    ``level`` is a level's usual name in any case; raises ``ValueError`` for another. What is known of
    ``secrets`` is masked in every line, at every level, in tracebacks too; more may be added to the redactor
    that is returned. ``run_id`` and ``route`` that are bound with structlog's contextvars stand in every line, and
    a function bound as `LOG_MASK` masks the text of every line as well, with what only its run knows.
    """
    number = _level_number(level)
    redactor = Redactor(secrets)
    out = sys.stdout if stream is None else stream
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _Rendered(redactor, _AsJson(out.encoding) if log_format == "json" else Console(colors=out.isatty())),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Destination(Lines(out)),
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(number)
    return redactor


def gathered_lines(loop: asyncio.AbstractEventLoop) -> AbstractContextManager[None]:
    """Within it, lines of this thread are written at the end of a turn of ``loop``; see `Lines.gathered`.

    For after `configure`.
    """
    destination = structlog.get_config()["logger_factory"]
    assert isinstance(destination, _Destination)  # noqa: S101 - `configure` has set it
    return destination.lines.gathered(loop)


class _Destination:
    """Gives structlog what writes lines."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    def __call__(self, *_names: object) -> Lines:
        return self.lines


def log_stray_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Has what ``loop`` finds unhandled (a task that nobody waited for) logged by its kind and place.

    What the error says is left out: it may quote inputs of the run that is to blame, whose masks nobody knows here.
    """
    loop.set_exception_handler(_log_stray_error)


def _log_stray_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error: BaseException | None = context.get("exception")
    kind = place = ""
    if error is not None:
        kind = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f"{frame.filename}:{frame.lineno}, in {frame.name}" for frame in frames)
    structlog.get_logger().error("an error that nobody handled", detail=context["message"], error=kind, place=place)


def _level_number(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.strip().upper())
    if number is None or number == logging.NOTSET:
        raise ValueError(f"{level!r} is no log level: use DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return number


def _take_over_standard_logging(level: int) -> None:
    """Our own modules are heard at ``level``; others from WARNING up, for below it they print URLs and headers."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(_Forwarding())
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("agent").setLevel(level)


class _Forwarding(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = max((n for n in _LEVELS if n <= record.levelno), default=logging.DEBUG)
            log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
            log.log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - whoever logs must not fail for it; this is what logging itself does
            self.handleError(record)


_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


class _Rendered:
    """The line as text, masked; keys without a value are left out."""

    def __init__(self, redactor: Redactor, printer: _AsJson | Console) -> None:
        self._redactor = redactor
        self._print = printer

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> str:
        masked_for_run: Callable[[str], str] | None = line.pop(LOG_MASK, None)
        told = {"timestamp": _now(), "level": method, "event": line.pop("event")}
        told.update([(key, v) for key, v in line.items() if v is not None and v != "" and key not in told])
        usual = self._print.usual(told)
        if (
            usual is not None  # most lines have nothing to mask, and are looked through once, as they are printed
            and not self._redactor.finds(usual)
            and (masked_for_run is None or masked_for_run(usual) == usual)
        ):
            return usual
        if masked_for_run is not None:
            told = {masked_for_run(key): _masked(value, masked_for_run) for key, value in told.items()}
        masked = self._redactor.mask_json(told)
        return self._print(logger, method, dict(masked) if isinstance(masked, Mapping) else {})


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _masked(value: object, mask: Callable[[str], str]) -> object:
    """A text; a number stays one unless a secret stands in it."""
    text = str(value)
    masked = mask(text)
    return value if isinstance(value, int | float) and masked == text else masked


class _AsJson:
    """One JSON object per line; other alphabets stay readable where the stream can carry them."""

    def __init__(self, encoding: str | None) -> None:
        self._readable = encoding is None or codecs.lookup(encoding).name == "utf-8"

    def usual(self, line: EventDict) -> str | None:
        """The line if all stands in it as it is: no escapes, nothing that JSON cannot carry."""
        try:
            text = _STRICT.encode(line)
        except (TypeError, ValueError):
            return None
        return text if text.isascii() and "\\" not in text else None

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> str:
        return compact(line) if self._readable else json.dumps(line, separators=(",", ":"))


_STRICT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Console:
    """Lines for people. Control characters come out escaped, so that no message can play tricks on a terminal."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=24, exception_formatter=structlog.dev.plain_traceback
        )

    def usual(self, _line: EventDict) -> None:
        """None is: colours and padding would hide what is looked for."""
        return

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> str:
        """The line as text; ``line`` is not changed."""
        return self._render(logger, method, {key: _printable(key, value) for key, value in line.items()})


def _printable(key: str, value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    lines = value.split("\n") if key == "exception" else [value]
    return "\n".join("".join(c if c.isprintable() else _escaped(c) for c in text) for text in lines)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
