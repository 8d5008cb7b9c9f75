"""Port has taken a report, and its answer is lost: the report is sent again, and the run still ends once."""

from __future__ import annotations

from agent.sandbox.port_api import Effect, Fault
from tests.faults.conftest import Begin
from tests.whole.world import World

ROUTES = """\
routes:
  - name: talk
    match: {action: talk}
    process: {command: [echo, hello]}
"""


def test_a_status_whose_answer_was_lost_is_sent_again_and_counts_once(world: World, begin: Begin) -> None:
    agent = begin("echoes", ROUTES, {"LOG_LEVEL": "DEBUG"})
    world.misbehave(Fault("/v1/actions/runs/*", method="PATCH", effect=Effect.DROP_REPLY, times=4))
    run_ids = [agent.invoke("talk") for _ in range(4)]
    for run_id in run_ids:
        agent.wait_line("run reported", run_id=run_id, result="delivered")
        assert world.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]
        assert [r.method for r in world.requests_of(run_id)].count("PATCH") >= 1
    patches = [r for run_id in run_ids for r in world.requests_of(run_id) if r.method == "PATCH"]
    assert len(patches) == 8  # each once more than it would have taken
    agent.wait_metric("agent_journal_pending_reports", 0)
