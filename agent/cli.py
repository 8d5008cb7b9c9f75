"""The ``action-agent`` command: its options, signals and exit codes.

Exit codes: 0 all went well; 1 what was asked for failed (a check, a run of the sandbox, a lost source); 2 the
settings are missing or wrong, or the command line is.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from agent import __version__
from agent.clock import SystemClock
from agent.commands.check import run_check
from agent.commands.doctor import run_doctor
from agent.commands.explain import explain as explain_message
from agent.commands.migrate import Given
from agent.commands.migrate import migrate as run_migrate
from agent.commands.problems import CANNOT_START, WRONG_SETTINGS, tell_problems
from agent.commands.run import run as run_agent
from agent.composition import Silent, open_registry
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import Channel
from agent.routing.schema import routes_schema
from agent.settings import Settings, defaults, environment, load

app = typer.Typer(
    help="Runs Port's self-service actions inside your network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_CANNOT_EXPLAIN = "the message cannot be explained; what is wrong:"


def main() -> NoReturn:
    """The command line; `agent.__main__` calls it, after it has seen to early signals."""
    app()
    raise AssertionError("typer exits by itself")


@app.callback(invoke_without_command=True)
def root(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Takes Port's action runs off Kafka, executes them, and reports back.

    Settings are environment variables, see .env.example; `action-agent sandbox` tries it all without any.
    """
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run() -> None:
    """Run the agent until SIGTERM; a second one skips the drain."""
    run_agent()


@app.command()
def check(
    *,
    message: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A recorded message to try on the mapping file; may be given more than once."
        ),
    ] = None,
) -> None:
    """Check settings and routes, or the mapping file, and print every error."""
    messages = [(str(file), _message(file)) for file in message or ()]
    problems: Sequence[Problem] = ()
    try:
        settings = load()
    except ConfigurationError as error:
        settings, problems = defaults(environment()), error.problems
    raise typer.Exit(run_check(settings, environment(), typer.echo, problems, messages))


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="A file with one message as JSON; - for standard input.")],
    *,
    change_log: Annotated[
        bool, typer.Option("--change-log", help="Take it as one of the change log topic.")
    ] = False,
) -> None:
    """Show what a message would do, rule by rule."""
    try:
        settings = load(needs_credentials=False)
    except ConfigurationError as error:
        _give_up(error, _CANNOT_EXPLAIN)
    body = _message(file)
    channel = Channel.CHANGE_LOG if change_log else Channel.RUNS
    try:
        code = asyncio.run(explain_message(settings, environment(), body, channel, typer.echo))
    except ConfigurationError as error:
        _give_up(error, _CANNOT_EXPLAIN)
    raise typer.Exit(code)


@app.command()
def migrate(
    *,
    env: Annotated[Path | None, typer.Option(metavar="FILE", help="Its environment, as a .env file.")] = None,
    values: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The values of its Helm release, chart port-agent.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its mapping file, control_the_payload_config.json.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Write routes.yaml, and values.yaml or .env, into it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there already.")] = False,
) -> None:
    """Say what Port's own agent's set-up means here, and write it anew.

    Without --env and --values it is the environment of this command that counts. Without --out nothing is written.
    Secret variables are neither shown nor written: comments say where they stood. A secret in the mapping
    file's own text is written as it stands there, and said to be so.
    """
    given = Given(env=env, values=values, mapping=mapping, out=out, force=force)
    try:
        raise typer.Exit(run_migrate(given, environment(), typer.echo))
    except ConfigurationError as error:
        _give_up(error, "it cannot be migrated; what is wrong:")


@app.command()
def doctor() -> None:
    """Try API, credentials, Kafka and the rest for real."""
    settings = _settings("doctor needs these settings; what is wrong:")
    raise typer.Exit(run_doctor(settings, environment(), typer.echo))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the routes file."""
    try:
        registry = open_registry(defaults(), environment(), Silent(), SystemClock())
    except ConfigurationError as error:
        _give_up(error)
    typer.echo(json.dumps(routes_schema(registry), indent=2, ensure_ascii=False))


@app.command()
def sandbox(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Invoke every example once, print the results, exit.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="Port of the web page; default: any free one.")] = None,
    routes: Annotated[Path | None, typer.Option(help="Your own routes file; not with --once.")] = None,
) -> None:
    """Run everything on this machine, without an account."""
    # Its parts are needed by nobody else, and cost memory.
    from agent import sandbox as the_sandbox  # noqa: PLC0415 - see above

    raise typer.Exit(the_sandbox.main(once=once, port=port, routes=routes))


def _message(file: Path) -> bytes:
    """The content of a file with a message, ``-`` is standard input; ends with 2 where it cannot be read."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        typer.echo(f"{file}: cannot be read: {error.strerror}", err=True)
        raise typer.Exit(WRONG_SETTINGS) from None


def _settings(first_words: str = CANNOT_START) -> Settings:
    try:
        return load()
    except ConfigurationError as error:
        _give_up(error, first_words)


def _give_up(error: ConfigurationError, first_words: str = CANNOT_START) -> NoReturn:
    """Prints every problem on stderr and exits with 2."""
    tell_problems(error, first_words)
    raise typer.Exit(WRONG_SETTINGS)
