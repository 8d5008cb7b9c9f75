"""The agent's output is shown as for people, and what the page needs is heard in it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from agent.sandbox.agent_log import AgentLog
from agent.sandbox.routes_file import RoutesFile


class Heard:
    """A log, what it has shown, and how often it had news."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.routes = RoutesFile(Path("/no/such/file"), is_copy=False)
        self.news = 0
        self.log = AgentLog(self.out, self.routes, self._count)

    def _count(self) -> None:
        self.news += 1

    def take(self, level: str, event: str, **about: object) -> str:
        """What is shown of the line."""
        before = len(self.out.getvalue())
        self.log.take(json.dumps({"timestamp": "2024-05-01T10:00:00Z", "level": level, "event": event, **about}))
        return self.out.getvalue()[before:]


def test_lines_are_shown_as_the_agent_shows_them_to_people() -> None:
    heard = Heard()
    shown = heard.take("info", "run finished", run_id="r_1", detail="\x1b[31mred")
    assert shown.startswith("2024-05-01T10:00:00Z [info     ] run finished")
    assert "run_id=r_1" in shown
    assert "\x1b" not in shown
    assert heard.news == 0


@pytest.mark.parametrize("line", ["printed by an action", "{", "[]", "{}", '{"event": "run started"}', ""])
def test_what_is_no_line_of_the_log_is_shown_as_it_is(line: str) -> None:
    heard = Heard()
    heard.log.take(line)
    assert (heard.out.getvalue(), heard.news) == (line + "\n", 0)


def test_what_is_told_of_runs_is_kept_and_lines_for_debugging_are_not_shown() -> None:
    heard = Heard()
    assert heard.take("debug", "no route takes this message", run_id="r_1", reason="none matched") == ""
    assert heard.take("info", "run started", run_id="r_2", route="mine", executor="http")
    assert heard.take("debug", "no route takes this message", reason="a message without a run") == ""
    assert heard.log.passed_over == {"r_1": "none matched"}
    assert heard.log.takers == {"r_2": ("mine", "http")}
    assert heard.news == 2


def test_the_routes_file_learns_whether_it_was_taken() -> None:
    heard = Heard()
    assert "routes reload refused" in heard.take("warning", "routes reload refused", problems=["a", "b"])
    assert list(heard.routes.problems) == ["a", "b"]
    heard.take("info", "routes reloaded", routes=3)
    assert list(heard.routes.problems) == []
    heard.take("warning", "routes reload refused", problems="one text")
    assert list(heard.routes.problems) == ["one text"]
    assert heard.news == 3


def test_an_output_that_nobody_reads_any_more_does_no_harm() -> None:
    heard = Heard()
    heard.out.close()
    heard.log.take("x")
    heard.log.take(json.dumps({"timestamp": "t", "level": "debug", "event": "run started", "run_id": "r_1"}))
    assert "r_1" in heard.log.takers
