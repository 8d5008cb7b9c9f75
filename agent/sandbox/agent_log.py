"""What the agent logs: shown on the terminal as for people, and heard for what the page tells of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, TextIO

from agent.observability.logs import Console
from agent.sandbox.routes_file import RoutesFile

_IN_EVERY_LINE = ("timestamp", "level", "event")
LOG_SETTINGS = {"AGENT_LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}
"""How an agent must log to be understood here; of its DEBUG lines none is shown."""


class AgentLog:
    """Takes the agent's output line by line; `take` never fails for what stands in a line.

    ``changed`` is called when there is news for the page: what `passed_over` or `takers` hold, or the routes
    file, which learns whether the agent took its latest version.
    """

    def __init__(self, out: TextIO, routes: RoutesFile, changed: Callable[[], None]) -> None:
        self._out = out
        self._routes = routes
        self._changed = changed
        self._console = Console(colors=out.isatty())
        self.passed_over: dict[str, str] = {}
        """By run id, why no route took its message."""
        self.takers: dict[str, tuple[str, str]] = {}
        """By run id, the route and the executor that took it."""

    def take(self, line: str) -> None:
        """Shows the line, and takes note of what it says. What is no line of the log is shown as it is."""
        told = _told(line)
        if told is None:
            self._show(line)
            return
        self._hear(told)
        if told["level"] != "debug":
            self._show(self._console(None, told["level"], told))

    def _show(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it cannot carry a character
            self._out.write(text + "\n")
            self._out.flush()

    def _hear(self, told: dict[str, Any]) -> None:
        run_id = str(told.get("run_id", ""))
        match told["event"]:
            case "no route takes this message" if run_id:
                self.passed_over[run_id] = str(told.get("reason", ""))
            case "run started" if run_id:
                self.takers[run_id] = (str(told.get("route", "")), str(told.get("executor", "")))
            case "routes reloaded":
                self._routes.taken()
            case "routes reload refused":
                problems = told.get("problems")
                self._routes.refused(map(str, problems) if isinstance(problems, list) else [str(problems)])
            case _:
                return
        self._changed()


def _told(line: str) -> dict[str, Any] | None:
    """The line as the agent's log has it, or ``None`` for anything else, such as what an action prints."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or not all(isinstance(told.get(key), str) for key in _IN_EVERY_LINE):
        return None
    return told
