"""The process executor under contract: one small script per kind of work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from agent.domain.json import JsonObject
from agent.domain.route import EntityVerb
from agent.executors.process import ProcessFactory
from agent.ports import EntityChange, ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.contract.executor_rig import FLOOD_BYTES, KILL_GRACE_S, SECRET, SECRET_HALVES, Prepared, Work

_FIRST, _SECOND = SECRET_HALVES
_SCRIPTS = {
    Work.SUCCEED: "echo done",
    Work.FAIL: "echo all is broken >&2; exit 3",
    Work.HANG: "echo $$ >$PID_FILE; exec sleep 600",
    Work.RESIST: "trap '' TERM INT HUP; echo $$ >$PID_FILE; while :; do sleep 600; done",
    Work.FLOOD: f"exec head -c {FLOOD_BYTES} /dev/zero",
    Work.LEAK: f"""
        printf %s {_FIRST}; sleep 0.05; echo {_SECOND}; echo {SECRET} >&2
        printf 'link=https://x/{SECRET}\\nsummary={SECRET}\\nstatus_label={SECRET}\\n' >>$AGENT_OUTPUT
        printf 'external_run_id={SECRET}\\nmine={SECRET}\\n' >>$AGENT_OUTPUT
        exit 1""",
    Work.SPILL: f"""
        echo told {SECRET}
        printf %5000s {_FIRST}; sleep 0.05; printf %s {_SECOND}  # a line that is too long for the reason
        exit 1""",
    Work.TELL: """
        cat >>$AGENT_OUTPUT <<'END'
link=https://example.com/1
link=https://example.com/2
summary=told
status_label=half way
external_run_id=42
size=3
text<<EOF
a
b
EOF
entity<<EOF
{"blueprint": "service", "identifier": "billing", "properties": {"tier": 1}}
EOF
END""",
}


class ProcessRig:
    """`Rig` of the process executor."""

    name = "process"

    def prepare(self, work: Work, tmp_path: Path) -> AbstractAsyncContextManager[Prepared]:
        """The script of ``work`` as a route would run it."""
        return _prepare(work, tmp_path / "pid")

    def check_flooded(self, run: FakeRun) -> None:
        """Every byte went to the log, which keeps what fits."""
        assert run.logged_bytes == FLOOD_BYTES

    def check_told(self, run: FakeRun) -> None:
        """Everything that the output file can carry arrived."""
        assert run.links == ["https://example.com/1", "https://example.com/2"]
        assert run.summaries == ["told"]
        assert run.status_labels == ["half way"]
        assert run.external_run_ids == ["42"]
        assert run.outputs == {"size": "3", "text": "a\nb"}
        body = {"properties": {"tier": 1}}
        assert run.entity_changes == [EntityChange(EntityVerb.UPSERT, "service", "billing", body)]


@asynccontextmanager
async def _prepare(work: Work, pid_file: Path) -> AsyncIterator[Prepared]:
    factory = ProcessFactory(fake_services(ExecutorSettings(kill_grace_s=KILL_GRACE_S)))
    options: JsonObject = {"command": ["sh", "-c", _SCRIPTS[work]], "env": {"PID_FILE": str(pid_file)}}

    def started() -> bool:
        return pid_file.exists() and pid_file.read_text().endswith("\n")

    def alive() -> bool:
        return started() and Path(f"/proc/{pid_file.read_text().strip()}").exists()

    try:
        yield Prepared(factory.prepare(options, "routes[0].process", FakeTemplates()), started, alive)
    finally:
        await factory.close()
