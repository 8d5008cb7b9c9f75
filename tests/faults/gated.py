"""Runs that go on until a gate is opened: whatever happens meanwhile happens while they are in flight."""

from __future__ import annotations

from agent.sandbox.messages import Click, kafka_v1, wire_text
from tests.broker.stage import Stage
from tests.broker.worklog import SHELL, Worklog

_WAIT = 'until [ -e "$GATE" ]; do sleep 0.1; done'


class Gated:
    """Runs of one route with ``on_interrupted: fail``, on a stage with its topics."""

    def __init__(self, stage: Stage, partitions: int = 3) -> None:
        self.worklog = Worklog(stage.home / "worklog")
        self._stage = stage
        stage.make_topics(partitions)
        stage.routes.write_text(
            _ROUTES.format(work=SHELL.replace("{work}", _WAIT), log=self.worklog.file, home=stage.home)
        )

    def place(self, name: str, count: int, partition: int | None = None) -> list[str]:
        """Asks for so many runs behind the gate ``name``, in one partition or spread over all; their ids."""
        clicks = [
            Click(f"r_{name}{n:03d}", "work", {"gate": name}, "service", org_id=self._stage.org)
            for n in range(count)
        ]
        for click in clicks:
            self._stage.port.create_run(click.run_id, click.action)
        records = [wire_text(kafka_v1(click)).encode() for click in clicks]
        self._stage.client.produce(self._stage.topic, records, partition)
        return [click.run_id for click in clicks]

    def open(self, name: str) -> None:
        """All runs behind this gate go on to their end, now and later."""
        (self._stage.home / f"gate-{name}").touch()

    def statuses(self, run_id: str) -> tuple[list[str], list[str]]:
        """What Port took, and what it refused."""
        run = self._stage.port.runs()[run_id]
        return run["terminal_statuses"], run["refused_statuses"]


_ROUTES = """\
routes:
  - name: work
    match: {{action: work}}
    process:
      command: [/bin/sh, -c, '{work}']
      env:
        WORKLOG: "{log}"
        GATE: "{home}/gate-{{{{ .inputs.gate }}}}"
        ATTEMPT: "{{{{ .run.attempt }}}}"
        AGENT: "-"
"""
