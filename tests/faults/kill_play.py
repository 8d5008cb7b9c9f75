"""One run whose agent dies at one point, and the agent that comes after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.messages import Click, kafka_v1, wire_text
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.worklog import SHELL, Worklog

_SETTINGS = {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000"}
_RUN_ID = "r_killed"


@dataclass(frozen=True, slots=True)
class Case:
    """``policy`` is the route's ``on_interrupted``; ``heir`` is ``same``, the agent that died, or ``other``."""

    point: str
    policy: str
    heir: str = "other"


@dataclass(frozen=True, slots=True)
class End:
    """How it came out: statuses that Port took and refused, what it was told, the attempts that were executed.

    ``report`` tells how things stood, for a failed test.
    """

    statuses: list[str]
    refused: list[str]
    summary: str
    attempts: list[int]
    report: str


def played(case: Case, kafka: RealKafka, home: Path) -> End:
    """Plays it to its end, at which all is committed and nothing remembered."""
    home.mkdir()
    worklog = Worklog(home / "worklog")
    with Stage(kafka, home, f"org_Kill{case.point}{case.policy}{case.heir}".replace("-", "")) as stage:
        stage.make_topics()
        stage.routes.write_text(
            _ROUTES.format(work=SHELL.replace("{work}", "true"), log=worklog.file, policy=case.policy)
        )
        if case.point in (
            "outcome-kept",
            "end-committed",
        ):  # else Port might know before the disk or the broker does
            stage.port.misbehave({"path": "*", "method": "PATCH", "effect": "hang", "times": None})
        stage.port.create_run(_RUN_ID, "work")
        click = Click(_RUN_ID, "work", {}, "service", org_id=stage.org)
        stage.client.produce(stage.topic, [wire_text(kafka_v1(click)).encode()])

        victim = stage.start_agent("victim", _SETTINGS, ("tests.faults.dying_agent", case.point))
        code = victim.wait(timeout_s=60)
        assert code == -9, f"it was to die at {case.point}, and ended with {code}:\n{victim.tail()}"
        stage.port.misbehave()
        heir = stage.start_agent("victim" if case.heir == "same" else "heir", _SETTINGS)
        heir.wait_ready()
        stage.wait_finished(timeout_s=90)
        stage.wait_committed()
        assert heir.stop(timeout_s=30) == 0, heir.tail()
        assert {known.marks for known in stage.offset_maps().values()} == {b""}, stage.report()

        run = stage.port.runs()[_RUN_ID]
        return End(
            run["terminal_statuses"],
            run["refused_statuses"],
            run["summary"] or "",
            [one.attempt for one in worklog.by_run().get(_RUN_ID, [])],
            stage.report(),
        )


_ROUTES = """\
routes:
  - name: work
    match: {{action: work}}
    process:
      command: [/bin/sh, -c, '{work}']
      env: {{WORKLOG: "{log}", ATTEMPT: "{{{{ .run.attempt }}}}", AGENT: "-"}}
    on_interrupted: {policy}
"""
