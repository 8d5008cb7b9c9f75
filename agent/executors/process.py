"""The executor ``process``: runs a command, streams its output, reads what it wrote to ``$AGENT_OUTPUT``."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.domain.errors import ConfigurationError, Problem, TemplateError
from agent.domain.invocation import View
from agent.domain.json import JsonObject
from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.executors.child import Child, Ending, settled
from agent.executors.command import OUTPUT_VARIABLE, CommandLine, CommandTemplate, absolute_program, compile_command
from agent.executors.command_notes import command_notes, not_started
from agent.executors.far_directory import FarDirectory
from agent.executors.oom import OomCounter
from agent.executors.output_file import read_outputs, tell, write_entities
from agent.executors.outputs import Outputs
from agent.executors.process_options import PROCESS_SCHEMA, ProcessOptions, read_process_options
from agent.executors.process_tree import Descendants
from agent.executors.spawn import Launch
from agent.ports import OUTPUT_FILE, WORK_DIRECTORY, ExecutorServices, RunContext, TemplateCompiler
from agent.threads import DISK

_OUTPUT_VARIABLE = OUTPUT_VARIABLE.encode()
_SMALL_BYTES = 16 * 1024
_SHELL_KILLED = 128 + signal.SIGKILL
"""What a shell exits with when the program that it ran was killed."""


class ProcessFactory:
    """Makes process executors. They share the sight of what their commands start.

    ``oom`` tells what the container's memory limit killed.
    """

    def __init__(self, services: ExecutorServices, *, oom: OomCounter | None = None) -> None:
        self._services = services
        self._family = Descendants()
        self._oom = oom or OomCounter()

    def options_schema(self) -> JsonObject:
        """What may stand under ``process:``."""
        return PROCESS_SCHEMA

    def prepare(self, options: JsonObject, path: str, templates: TemplateCompiler) -> ProcessExecutor:
        """An executor for one route. Raises `ConfigurationError`.

        Whether the program exists is seen when it is run: it may come with a volume, later.
        """
        problems: list[Problem] = []
        command, settings = None, None
        try:
            command = compile_command(options, path, templates, self._services)
        except ConfigurationError as error:
            problems.extend(error.problems)
        try:
            settings = read_process_options(options, path, self._services.settings.kill_grace_s)
        except ConfigurationError as error:
            problems.extend(error.problems)
        if command is None or settings is None:
            raise ConfigurationError(*problems)
        return ProcessExecutor(command, settings, self._family, self._oom)

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class _Places:
    """What a command finds on the disk: the run's workspace, where it starts, and the file for its outputs."""

    workspace: Path
    cwd: Path
    output_file: Path


class ProcessExecutor:
    """Runs one route's command, for many runs at once.

    The command starts in an empty directory ``work`` of the run's workspace, which is its ``HOME`` and ``TMPDIR``.
    A relative path to the program counts from the agent's working directory (from ``cwd``, where the route says
    one). When the run ends, so has everything that the command started.
    """

    def __init__(
        self,
        command: CommandTemplate,
        options: ProcessOptions,
        family: Descendants,
        oom: OomCounter,
    ) -> None:
        self._command = command
        self._options = options
        self._directory = None if options.cwd is None else FarDirectory(options.cwd)
        self._family = family
        self._oom = oom

    async def preview(self, view: View) -> JsonObject:
        """The command, and the variables that the route adds."""
        return self._command.preview(view)

    def notes(self) -> list[str]:
        """What the command lacks on this machine now; see `command_notes`."""
        return list(command_notes(self._command.program, self._options.cwd, self._command.search_path))

    async def execute(self, run: RunContext) -> Outcome:
        """Runs the command to its end. Cancelled, it ends the whole tree of processes first; see `Child.stop`."""
        oom_kills = self._oom.read()
        try:
            line = self._command.render(run.view)
            if self._directory is not None:
                await _reach(self._directory, run)
            places = await self._places(run)
            child = Child(self._launch(line, run, places), self._family, run.stream)
        except TemplateError as error:
            return Failed(str(error), FailureKind.BAD_TEMPLATE)
        except OSError as error:
            return Failed(not_started(error, self._options.cwd), FailureKind.NOT_STARTED)
        output_file = places.output_file
        try:
            ending = await child.ended(self._options.kill_grace_s + 1.0)
        except BaseException as error:
            grace_s = self._options.kill_grace_s if isinstance(error, asyncio.CancelledError) else 0.0
            _log_stop(await child.stop(grace_s, self._options.signal_scope), run)
            tell(await self._outputs(output_file), run)
            raise
        _log_leftovers(ending, run)
        outcome = self._judge(ending, child, oom_kills)
        outputs = await self._outputs(output_file)
        tell(outputs, run)
        missing = await write_entities(outputs, run)
        if missing is not None and isinstance(outcome, Succeeded):
            return Failed(missing, FailureKind.BAD_OUTPUT)
        return outcome

    async def _places(self, run: RunContext) -> _Places:
        """Made by a thread, as disks may be slow; waited for also when cancelled: then it can be removed."""
        making = DISK.run(partial(_make_places, run, self._options.cwd))
        cancellations = await settled(making)
        try:
            if cancellations > 0:
                making.exception()  # of a run that is stopped nobody need know it; asyncio would tell the log
                raise asyncio.CancelledError
            return making.result()
        finally:
            del making  # it holds the error, whose traceback holds this frame: a cycle, and the run would be in it

    def _launch(self, line: CommandLine, run: RunContext, places: _Places) -> Launch:
        workspace, output_file = os.fsencode(places.workspace), os.fsencode(places.output_file)
        variables = {b"HOME": workspace, b"TMPDIR": workspace}
        if run.traceparent is not None:
            variables[b"TRACEPARENT"] = run.traceparent.encode()
        return Launch(
            argv=line.argv if self._options.cwd is not None else absolute_program(line.argv),
            environment={**variables, **line.environment, _OUTPUT_VARIABLE: output_file},
            cwd=places.cwd,
            stdin=f"{run.view.text}\n".encode() if self._options.sends_invocation else None,
        )

    async def _outputs(self, file: Path) -> Outputs:
        """A large file is read off the loop, an empty one not at all."""
        size_bytes = _size_bytes(file)
        if size_bytes == 0:
            return Outputs()
        if size_bytes is None or size_bytes <= _SMALL_BYTES:
            return read_outputs(file)
        return await DISK.run(partial(read_outputs, file))

    def _judge(self, ending: Ending, child: Child, oom_kills: int | None) -> Outcome:
        code = ending.returncode
        if code is None:
            return Failed("how the command ended is not known: its exit status was lost", FailureKind.EXIT_CODE)
        if code in self._options.ok_exit_codes:
            return Succeeded()
        kind = FailureKind.EXIT_CODE if code >= 0 else FailureKind.SIGNAL
        what = f"exit code {code}" if code >= 0 else f"killed by {_signal_name(-code)}"
        if code in (-signal.SIGKILL, _SHELL_KILLED):
            kind, what = self._out_of_memory(kind, what, oom_kills)
        return Failed("\n".join(filter(None, (what, child.tail))), kind)

    def _out_of_memory(self, kind: FailureKind, what: str, before: int | None) -> tuple[FailureKind, str]:
        now = self._oom.read()
        if now is not None and before is not None and now > before:
            return FailureKind.OUT_OF_MEMORY, f"out of memory: {what} at the agent's memory limit"
        return kind, f"{what} (out of memory?)"


async def _reach(directory: FarDirectory, run: RunContext) -> None:
    """Raises `OSError`."""
    try:
        await directory.answers()
    except asyncio.CancelledError:
        run.log(f"the command was not started: its directory {directory.path} has not answered", level="ERROR")
        raise


def _make_places(run: RunContext, cwd: Path | None) -> _Places:
    """Raises `OSError`."""
    workspace = run.workspace
    output_file = workspace / OUTPUT_FILE
    if cwd is None:
        cwd = workspace / WORK_DIRECTORY
        with suppress(FileExistsError):
            os.mkdir(cwd, 0o700)  # noqa: PTH102 - a system call, and no more
    os.close(os.open(output_file, os.O_WRONLY | os.O_CREAT, 0o600))
    return _Places(workspace, cwd, output_file)


def _log_leftovers(ending: Ending, run: RunContext) -> None:
    if ending.leftovers:
        names = ", ".join(ending.leftovers[:10])
        run.log(f"killed what the command had left running ({len(ending.leftovers)}): {names}", level="WARN")


def _log_stop(ending: Ending, run: RunContext) -> None:
    if ending.killed:
        run.log("the command did not end after SIGTERM and was killed", level="WARN")
    else:
        _log_leftovers(ending, run)


def _size_bytes(file: Path) -> int | None:
    """``None`` for what is no regular file, or none that can be seen."""
    try:
        status = os.lstat(file)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
