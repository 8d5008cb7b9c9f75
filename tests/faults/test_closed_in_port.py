"""A run that somebody closes in Port: what was begun for it ends, and Port hears nothing more."""

from __future__ import annotations

from pathlib import Path

from tests.broker.waiting import wait_until
from tests.executors.process_helpers import is_alive
from tests.faults.conftest import Begin
from tests.whole.world import World

ROUTES = """\
routes:
  - name: long
    match: {action: long}
    process:
      command:
        - sh
        - -c
        - |
          trap "echo last words" TERM
          setsid sleep 600 & echo $$ $! >>"$PIDS"
          while :; do echo on; sleep 0.05; done
      env: {PIDS: "%(pids)s"}
      kill_grace: 500ms
    entities: [{blueprint: service, identifier: "{{ .run.id }}", on: [always]}]
    report: {link: "https://made.example/"}
  - name: gated
    match: {action: gated}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}"}
"""


def test_its_tree_of_processes_ends_others_go_on_and_nothing_more_is_sent(
    world: World, begin: Begin, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    agent = begin("closing", ROUTES % {"pids": pids}, {"AGENT_CLOSE_CHECK_S": "0.3", "LOG_LEVEL": "DEBUG"})
    closed, other = agent.invoke("long"), agent.invoke("gated", {"gate": "closing"})
    world.target.wait_at_gate("closing")
    agent.wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "it to begin")
    agent.wait_until(lambda: world.ledger.runs[closed].logs, "its first lines to be told")
    world.loop.call(lambda: world.ledger.patch_run(closed, {"status": "FAILURE", "summary": "closed by hand"}))
    agent.wait_line("run finished", run_id=closed, outcome="cancelled", reason="closed_in_port")
    agent.wait_line("run reported", run_id=closed)
    assert [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)] == []

    run = world.ledger.runs[closed]
    assert (run.terminal_statuses, run.refused_statuses) == (["FAILURE"], [])
    assert (run.summary, run.links) == ("closed by hand", [])
    assert "last words" not in run.log_text
    assert [r.path for r in world.ledger.requests if "entities" in r.path and r.query.get("run_id") == closed] == []

    world.target.open_gate("closing")
    assert world.ended(other).terminal_statuses == ["SUCCESS"]
    lists = len(world.ledger.requests_to("/v1/actions/runs", "GET"))
    assert lists >= 1
    agent.result_of("gated", {"gate": "closing"})  # a short one: nobody asks about it
    assert len(world.ledger.requests_to("/v1/actions/runs", "GET")) == lists
    wait_until(lambda: agent.metric("agent_runs_in_flight") == 0, timeout_s=20, what="nothing to be in flight")
