"""The command ``run``: the agent itself, until it is told to stop.

What other commands need is not imported here: an agent that waits should be small.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from functools import partial
from types import FrameType
from typing import NoReturn

import structlog
import uvloop

from agent.commands.problems import WRONG_SETTINGS, tell_problems
from agent.composition import LAST_TASKS_S, Agent
from agent.dispatch.lifecycle import Stop
from agent.domain.errors import ConfigurationError
from agent.domain.redaction import Redactor
from agent.garbage import leave_out_what_stands
from agent.leaving import HardEnd, leave
from agent.observability.logs import configure, gathered_lines, log_stray_errors
from agent.settings import Settings, environment, load

_FAILED = 1

log = structlog.get_logger(__name__)


def run() -> NoReturn:
    """Runs the agent until SIGTERM or SIGINT, and ends the process: 0, 1 where it failed, 2 for wrong settings."""
    try:
        settings = load()
    except ConfigurationError as error:
        tell_problems(error)
        sys.exit(WRONG_SETTINGS)
    redactor = configure(settings.AGENT_LOG_FORMAT, settings.LOG_LEVEL, settings.secrets)
    code = _FAILED
    # Never closed: that would wait for every thread that actions have left.
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        with gathered_lines(runner.get_loop()):  # not within the loop, which may break off before it is left there
            code = runner.run(_run(settings, redactor))
        runner.run(_end_tasks())
    except ConfigurationError as error:
        tell_problems(error)
        code = WRONG_SETTINGS
    except BaseException:  # an action's stray task may raise SystemExit right through the loop
        log.exception("the agent failed")
        code = _FAILED
        with contextlib.suppress(BaseException):
            runner.run(_end_tasks())
    finally:
        # Everything of ours has ended in order by now: runs are reported, offsets committed, children and
        # workspaces gone. What may be left are threads of Python actions, which nothing can end: the interpreter
        # would wait for them, perhaps for ever, and whoever stops the agent would have to kill it.
        logging.shutdown()
        leave(code)


async def _run(settings: Settings, redactor: Redactor) -> int:
    end_s = settings.timeline.total_s
    hard_end = HardEnd(end_s, partial(log.error, "the stop took too long: ending at once", after_s=end_s))
    agent, stop = Agent(settings, environment(), redactor, at_drain=hard_end.arm), Stop()
    loop = asyncio.get_running_loop()
    log_stray_errors(loop)

    def hear(_number: int, _frame: FrameType | None) -> None:
        hard_end.arm()
        loop.call_soon_threadsafe(stop.ask)

    # Not the loop's own handlers: those wait for a loop that an action may have blocked.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
    leave_out_what_stands()
    return await agent.run(stop)


async def _end_tasks() -> None:
    """Cancels what actions began and nobody waits for, and gives it a moment to tidy up."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=LAST_TASKS_S)
