"""The Python executor under contract; its actions stand in python_actions.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.domain.route import EntityVerb
from agent.executors.python import PythonFactory
from agent.ports import EntityChange, ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.contract import python_actions
from tests.contract.executor_rig import FLOOD_BYTES, KILL_GRACE_S, Prepared, Work


@dataclass(frozen=True)
class PythonRig:
    """`Rig` of the Python executor, for asynchronous or for synchronous actions."""

    asynchronous: bool

    @property
    def name(self) -> str:
        """Which of the two it is."""
        return "python-async" if self.asynchronous else "python-sync"

    def prepare(self, work: Work, tmp_path: Path) -> AbstractAsyncContextManager[Prepared]:
        """The action of ``work`` as a route would call it."""
        del tmp_path
        name = f"tests.contract.python_actions:{work}"
        return _prepare(name if self.asynchronous else f"{name}_sync", mortal=self.asynchronous)

    def check_flooded(self, run: FakeRun) -> None:
        """Every byte went to the log, which keeps what fits."""
        assert run.logged_bytes == FLOOD_BYTES

    def check_told(self, run: FakeRun) -> None:
        """Everything that a run can be told arrived."""
        assert run.links == ["https://example.com/1"]
        assert run.status_labels == ["half way"]
        assert run.external_run_ids == ["42"]
        assert run.outputs == {"size": 3}
        assert run.entity_changes == [
            EntityChange(EntityVerb.UPSERT, "service", "billing", {"properties": {"tier": 1}}),
            EntityChange(EntityVerb.PATCH, "service", "billing", {"title": "Billing"}),
            EntityChange(EntityVerb.DELETE, "service", "old"),
        ]


@asynccontextmanager
async def _prepare(name: str, *, mortal: bool) -> AsyncIterator[Prepared]:
    factory = PythonFactory(fake_services(ExecutorSettings(kill_grace_s=KILL_GRACE_S)))
    python_actions.released.clear()

    def under_way() -> bool:
        return bool(python_actions.under_way)

    try:
        executor = factory.prepare({"callable": name}, "routes[0].python", FakeTemplates())
        yield Prepared(executor, started=under_way, alive=under_way, mortal=mortal)
    finally:
        python_actions.released.set()
        await factory.close()
