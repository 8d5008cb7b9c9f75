"""The ``action-agent`` command: its options and exit codes.

Exit codes: 0 all went well; 1 what was asked for failed (a check, a run of the sandbox, a lost source); 2 the
settings are missing or wrong, or the command line is; 130 it was interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from agent import __version__
from agent.clock import SystemClock
from agent.commands.check import run_check
from agent.commands.doctor import run_doctor
from agent.commands.explain import explain
from agent.commands.migrate import Given, migrate
from agent.commands.problems import CANNOT_START, WRONG_SETTINGS, tell_problems
from agent.commands.run import run
from agent.composition import Silent, open_registry
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import Channel
from agent.routing.schema import routes_schema
from agent.settings import defaults, environment, load

_FAILED = 1
_INTERRUPTED = 128 + signal.SIGINT


def main() -> NoReturn:
    """The command line; `agent.__main__` calls it, after it has seen to early signals."""
    _speak_any_language()
    try:
        given, unknown = _parser().parse_known_args()
        if unknown:
            given.parser.error(f"unknown: {' '.join(unknown)}")
        code = given.call(given)
        with _heard():
            sys.stdout.flush()  # the sandbox shows the agent's log past `_say`
    except ConfigurationError as error:
        tell_problems(error, given.first_words)
        code = WRONG_SETTINGS
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except _UnheardError as error:
        # The interpreter's own last flush shall not complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(error.told)
        code = _FAILED
    sys.exit(code)


class _UnheardError(Exception):
    """What a command says cannot be written. ``told`` is empty where its reader has gone, as `head` does."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        why = error.strerror or error
        self.told = "" if isinstance(error, BrokenPipeError) else f"action-agent: stdout cannot be written: {why}\n"


@contextmanager
def _heard() -> Iterator[None]:
    """Raises `_UnheardError` where what is written to stdout meanwhile cannot be."""
    try:
        yield
    except OSError as error:
        raise _UnheardError(error) from None


def _speak_any_language() -> None:
    """A terminal or file that has no "…" gets it escaped, as on stderr, rather than a traceback in its place.

    Where stdout was closed before the start there is none; what would be said is not.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for as long as the process lives
    elif isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class _Parser(ArgumentParser):
    """Takes options by their whole name alone, and says what is wrong before it says how it is used."""

    def __init__(self, prog: str, description: str, epilog: str | None = None, **inherited: Any) -> None:
        """``inherited``: what Python gives each command of its parent's, such as, from 3.14 on, ``color``."""
        super().__init__(
            prog, description=description, epilog=epilog, allow_abbrev=False, add_help=False, **inherited
        )
        self.add_argument("-h", "--help", action="help", help="Print this and exit.")
        self.set_defaults(parser=self)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """As every parser. Raises `_UnheardError` where the help that was asked for cannot be written."""
        with _heard():
            sys.stdout.flush()
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        """Tells it on stderr and exits with 2."""
        self.exit(WRONG_SETTINGS, f"{self.prog}: {message}\n{self.format_usage()}{self.prog} --help says more.\n")


def _nothing_more(_parser: ArgumentParser) -> None:
    """Options that a command does not have."""


@dataclass(frozen=True, slots=True)
class _Command:
    """``first_words`` stand above the problems of a `ConfigurationError`, ``more`` below the options."""

    name: str
    does: str
    call: Callable[[Namespace], int]
    options: Callable[[ArgumentParser], None] = _nothing_more
    more: str | None = None
    first_words: str = CANNOT_START


def _parser() -> ArgumentParser:
    root = _Parser(
        "action-agent",
        "Runs Port's self-service actions inside your network: takes action runs off Kafka, executes them, and"
        " reports back.",
        "Settings are environment variables, see .env.example; `action-agent sandbox` tries it all without any."
        " Exit codes: 0 all went well; 1 what was asked for failed; 2 the settings or the command line are wrong.",
    )
    root.add_argument("--version", action="version", version=__version__, help="Print the version and exit.")

    def nothing_asked(_given: Namespace) -> int:
        root.print_help(sys.stderr)
        return WRONG_SETTINGS

    root.set_defaults(call=nothing_asked, first_words=CANNOT_START)
    commands = root.add_subparsers(title="commands, each with a --help of its own", metavar="COMMAND")
    for command in _COMMANDS:
        one = commands.add_parser(
            command.name,
            prog=f"{root.prog} {command.name}",
            help=command.does,
            description=command.does,
            epilog=command.more,
        )
        command.options(one)
        one.set_defaults(call=command.call, first_words=command.first_words)
    return root


def _say(line: str) -> None:
    """Whoever watches sees it at once, also through a pipe. Raises `_UnheardError`."""
    with _heard():
        print(line, flush=True)


def _run(_given: Namespace) -> int:
    run()


def _check_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--message",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="A recorded message to try on the mapping file, - for standard input; may be given more than once."
        " Default: none.",
    )


def _check(given: Namespace) -> int:
    messages = [(str(file), _message(file)) for file in given.message]
    problems: Sequence[Problem] = ()
    try:
        settings = load()
    except ConfigurationError as error:
        settings, problems = defaults(environment()), error.problems
    return run_check(settings, environment(), _say, problems, messages)


def _explain_options(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="One message as JSON; - for standard input.")
    parser.add_argument(
        "--change-log",
        action="store_true",
        help="Take it as one of the change log topic. Default: of the topic of runs.",
    )


def _explain(given: Namespace) -> int:
    settings = load(needs_credentials=False)
    channel = Channel.CHANGE_LOG if given.change_log else Channel.RUNS
    return asyncio.run(explain(settings, environment(), _message(given.file), channel, _say))


def _migrate_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--env",
        metavar="FILE",
        type=Path,
        help="Its environment, as a .env file. Default: this command's own, unless there are --values.",
    )
    parser.add_argument(
        "--values",
        metavar="FILE",
        type=Path,
        help="The values of its Helm release, chart port-agent. Default: none.",
    )
    parser.add_argument(
        "--mapping",
        metavar="FILE",
        type=Path,
        help="Its mapping file, control_the_payload_config.json."
        " Default: the one that its environment or values name.",
    )
    parser.add_argument(
        "--out",
        metavar="DIRECTORY",
        type=Path,
        help="Write routes.yaml, and values.yaml or .env, into it. Default: nothing is written.",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="Write over files that are there already. Default: they stay, and that is a failure.",
    )


def _migrate(given: Namespace) -> int:
    wanted = Given(env=given.env, values=given.values, mapping=given.mapping, out=given.out, force=given.force)
    return migrate(wanted, environment(), _say)


def _doctor(_given: Namespace) -> int:
    return run_doctor(load(), environment(), _say)


def _schema(_given: Namespace) -> int:
    registry = open_registry(defaults(), environment(), Silent(), SystemClock())
    _say(json.dumps(routes_schema(registry), indent=2, ensure_ascii=False))
    return 0


def _sandbox_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--once",
        action="store_true",
        help="Invoke every example once, print the results, exit. Default: run until Ctrl-C.",
    )
    parser.add_argument("--port", metavar="NUMBER", type=int, help="Port of the web page. Default: any free one.")
    parser.add_argument(
        "--routes",
        metavar="FILE",
        type=Path,
        help="Your own routes file; not with --once. Default: that of the examples.",
    )


def _sandbox(given: Namespace) -> int:
    # Its parts are needed by nobody else, and cost memory.
    from agent import sandbox  # noqa: PLC0415 - see above

    return sandbox.main(_say, once=given.once, port=given.port, routes=given.routes)


def _message(file: Path) -> bytes:
    """The content of a file with a message, ``-`` is standard input; ends with 2 where it cannot be read."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        sys.stderr.write(f"{file}: cannot be read: {error.strerror}\n")
        sys.exit(WRONG_SETTINGS)


_COMMANDS = (
    _Command("run", "Run the agent until SIGTERM; a second one skips the drain.", _run),
    _Command(
        "check",
        "Check settings and routes, or the mapping file, and print every error.",
        _check,
        _check_options,
    ),
    _Command(
        "explain",
        "Show what a message would do, rule by rule.",
        _explain,
        _explain_options,
        first_words="the message cannot be explained; what is wrong:",
    ),
    _Command(
        "migrate",
        "Say what Port's own agent's set-up means here, and write it anew.",
        _migrate,
        _migrate_options,
        more="Secret variables are neither shown nor written: comments say where they stood. A secret in the"
        " mapping file's own text is written as it stands there, and said to be so.",
        first_words="it cannot be migrated; what is wrong:",
    ),
    _Command(
        "doctor",
        "Try API, credentials, Kafka and the rest for real.",
        _doctor,
        first_words="doctor needs these settings; what is wrong:",
    ),
    _Command("schema", "Print the JSON Schema of the routes file.", _schema),
    _Command("sandbox", "Run everything on this machine, without an account.", _sandbox, _sandbox_options),
)
