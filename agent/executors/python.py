"""The executor ``python``: calls ``module:function`` with the run; asynchronous on the loop, others in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from agent.domain.invocation import View
from agent.domain.json import JsonObject
from agent.domain.outcome import Failed, FailureKind, Outcome
from agent.executors.callables import is_asynchronous, load_callable
from agent.executors.sync_run import LoopBridge, SyncRun
from agent.executors.unawaited import Unawaited, WatchedRun, complaint
from agent.executors.verdict import Verdict, raised, returned
from agent.ports import ExecutorServices, RunContext, TemplateCompiler
from agent.threads import in_thread

_SCHEMA: JsonObject = {
    "type": "object",
    "additionalProperties": False,
    "required": ["callable"],
    "properties": {
        "callable": {
            "description": "The function, as module:function; it takes the run as its one argument.",
            "type": "string",
            "pattern": r"^[\w.]+:[\w.]+$",
            "x-expected": "module:function, such as my_actions.scaffold:create",
        },
    },
}


class PythonFactory:
    """Makes Python executors. Puts the operator's directories (``python_path``) in front of ``sys.path``."""

    def __init__(self, services: ExecutorServices) -> None:
        self._grace_s = services.settings.kill_grace_s
        self._left_behind = _LeftBehind()
        sys.path[:0] = [entry for entry in services.settings.python_path if entry not in sys.path]

    @property
    def left_behind(self) -> int:
        """How many threads of stopped runs still go on, because nothing can end a thread from outside."""
        return self._left_behind.count

    def options_schema(self) -> JsonObject:
        """What may stand under ``python:``."""
        return _SCHEMA

    def prepare(self, options: JsonObject, path: str, templates: TemplateCompiler) -> PythonExecutor:
        """An executor for one route; imports its module. Raises `ConfigurationError`."""
        del templates
        name = str(options["callable"])
        function = load_callable(name, f"{path}.callable")
        return PythonExecutor(
            name,
            function,
            grace_s=self._grace_s,
            left_behind=self._left_behind,
        )

    async def close(self) -> None:
        """Nothing to free: the threads of stopped actions are daemons, which end with the agent."""


class PythonExecutor:
    """Calls one function, for many runs at once.

    It may return an outcome (`Succeeded`, `Failed`, `Accepted`), a summary, or ``None`` for success. An exception
    is a failure, and so is a call of the run that an asynchronous function forgot to await. Told to stop, an
    asynchronous function is cancelled; a synchronous one meets `RunCancelledError` when it next asks anything of
    its run. One that goes on after the grace is given up: the asynchronous one is never resumed, the synchronous
    one's thread is left behind.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Any], object],
        *,
        grace_s: float,
        left_behind: _LeftBehind,
    ) -> None:
        self._name = name
        self._function = function
        self._grace_s = grace_s
        self._left_behind = left_behind

    async def preview(self, view: View) -> JsonObject:
        """Which function would be called, and how."""
        del view
        return {"callable": self._name, "asynchronous": is_asynchronous(self._function)}

    async def execute(self, run: RunContext) -> Outcome:
        """Calls the function to its end, or until it is stopped."""
        call = self._call_asynchronous if is_asynchronous(self._function) else self._call_synchronous
        verdict = await call(run)
        if verdict.trace:
            run.traceback(verdict.trace)
        return verdict.outcome

    async def _call_asynchronous(self, run: RunContext) -> Verdict:
        leash = _Leash()
        task = asyncio.ensure_future(_judged_asynchronous(self._function, run, leash))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            if not await _done_within(task, self._grace_s):
                leash.drop()
                task.cancel()
                run.log(f"{self._name} did not stop when it was cancelled, and was given up", level="ERROR")
            raise
        if task.cancelled():
            return Verdict(Failed(f"{self._name} cancelled itself", FailureKind.EXCEPTION))
        return task.result()

    async def _call_synchronous(self, run: RunContext) -> Verdict:
        bridge = LoopBridge()
        sync = SyncRun(run, bridge)
        done = in_thread(lambda: _judged(self._function, sync), f"action {self._name}")
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            bridge.close()
            if not await _done_within(done, self._grace_s):
                count = self._left_behind.add(done)
                run.log(
                    f"{self._name} did not stop; its thread goes on, unheard ({count} such threads)", level="ERROR"
                )
            raise
        finally:
            bridge.close()
        return done.result()


class _LeftBehind:
    """Counts threads that nothing can end. Loop thread only."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, done: asyncio.Future[Any]) -> int:
        """Counts one until it is ``done``; how many there are now."""
        self.count += 1
        done.add_done_callback(self._remove)
        return self.count

    def _remove(self, _done: asyncio.Future[Any]) -> None:
        self.count -= 1


class _Leash:
    """Drives a coroutine of somebody else until it is dropped; then it is never resumed, whatever it caught."""

    def __init__(self) -> None:
        self._dropped = False

    def drop(self) -> None:
        """At its next resumption the coroutine is closed instead: nothing but ``finally`` clauses is executed."""
        self._dropped = True

    @types.coroutine
    def drive(self, coroutine: Coroutine[Any, Any, object]) -> Generator[Any, Any, object]:
        """To be awaited in place of ``coroutine``. Raises `asyncio.CancelledError` where it was dropped."""
        thrown: BaseException | None = None
        while not self._dropped:
            try:
                awaited = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
            except StopIteration as stop:
                return stop.value
            thrown = None
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the coroutine
                thrown = error
        with contextlib.suppress(RuntimeError):  # it ignored even this
            coroutine.close()
        raise asyncio.CancelledError


async def _judged_asynchronous(function: Callable[[Any], object], run: RunContext, leash: _Leash) -> Verdict:
    """What the function's end means. Lets only a cancellation through."""
    unawaited = Unawaited()
    try:
        value = function(WatchedRun(run, unawaited))
        verdict = returned(await leash.drive(value) if asyncio.iscoroutine(value) else value)
        if unawaited:
            await asyncio.sleep(0)  # what was made a task, and not waited for, begins by then
        forgotten = unawaited.take()
        if forgotten and not isinstance(verdict.outcome, Failed):
            return Verdict(Failed(complaint(forgotten), FailureKind.EXCEPTION))
        return verdict
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit is to end the run, not the agent
        return raised(error)
    finally:
        unawaited.take()


def _judged(function: Callable[[Any], object], run: SyncRun) -> Verdict:
    """What the function's end means. Never raises."""
    try:
        return returned(function(run))
    except BaseException as error:  # noqa: BLE001 - SystemExit is to end the run, not just its thread
        return raised(error)


async def _done_within(future: asyncio.Future[Any], patience_s: float) -> bool:
    """Whether it is done by then; a cancellation meanwhile ends the patience."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([future], timeout=patience_s)
    return future.done()
