"""Fakes for people who write Python actions and executors: no network, no broker, everything recorded.

::

    def test_creates_a_repository() -> None:
        with FakeRun({"name": "billing"}) as run:
            assert asyncio.run(create(run)) == Succeeded("New entity created")
        assert run.links == ["https://git.internal/billing"]

A synchronous action is tested the same way: ``create(run.sync)``.
"""

from agent.testing.fake_log import LogLine
from agent.testing.fake_run import FakeRun, fake_invocation
from agent.testing.fake_services import fake_services
from agent.testing.fake_templates import FakeTemplates

__all__ = ["FakeRun", "FakeTemplates", "LogLine", "fake_invocation", "fake_services"]
