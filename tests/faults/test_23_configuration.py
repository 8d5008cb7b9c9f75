"""The routes file changes, breaks, or is gone for a moment in the middle of load: no run is lost or executed twice,
runs in flight keep the rule under which they began, and nothing restarts.

What `check` says of each mistake stands in `tests.routing.test_mistakes`, a reload without load in
`tests.whole.test_routing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.at_work import at_work, check_nothing_was_a_defect, pid_of
from tests.faults.steady_load import SteadyLoad
from tests.whole.mount import Mount
from tests.whole.one_agent import OneAgent


def routes(version: str) -> str:
    return f"""\
routes:
  - name: load-{version}
    match: {{action: load}}
    env: [TARGET]
    http: {{url: "{{{{ env.TARGET }}}}/load/{{{{ .run.id }}}}"}}
    report: {{summary: "by {version}"}}
  - name: gated-{version}
    match: {{action: gated}}
    env: [TARGET]
    http: {{url: "{{{{ env.TARGET }}}}/gate/{version}"}}
    report: {{summary: "by {version}"}}
    entities: [{{blueprint: service, identifier: {version}}}]
"""


BROKEN = routes("broken").replace("http:", "htp:", 1)


@contextmanager
def under_load(home: Path, routes_file: Path) -> Iterator[tuple[OneAgent, SteadyLoad]]:
    """An agent with this file and steady load; at the end each run was executed once, and nothing has restarted."""
    with at_work(home, "", {"AGENT_ROUTES_PATH": str(routes_file)}) as agent:
        pid = pid_of(agent)
        with SteadyLoad(agent, "load") as load:
            load.go_on()
            yield agent, load
            load.go_on()
        for run_id in load.run_ids:
            run = agent.world.ended(run_id)
            assert run.terminal_statuses == ["SUCCESS"], run
            assert len(agent.world.target.requests(f"/load/{run_id}")) == 1
        assert pid_of(agent) == pid
        assert len(agent.lines("started")) == len(agent.lines("partitions assigned")) == 1
        assert agent.get("/readyz")[0] == agent.get("/livez")[0] == 200
        check_nothing_was_a_defect(agent, agent.world)


def begun_behind_gate(agent: OneAgent, version: str, count: int = 1) -> str:
    """A run that goes on until the gate of this version of the routes is opened; ``count`` are there then."""
    run_id = agent.invoke("gated")
    agent.world.target.wait_at_gate(version, count)
    return run_id


def versions_of(agent: OneAgent, run_ids: Iterable[str]) -> list[str]:
    """By which version of the routes each run was executed, without repetition."""
    summaries = [(agent.world.ended(run_id).summary or "").removeprefix("by ") for run_id in run_ids]
    return list(dict.fromkeys(summaries))


def check_kept(agent: OneAgent, version: str, run_ids: Iterable[str]) -> None:
    """Behind their gate these runs kept this version of their rule to the end."""
    agent.world.target.open_gate(version)
    for run_id in run_ids:
        run = agent.world.ended(run_id)
        assert (run.terminal_statuses, run.summary) == (["SUCCESS"], f"by {version}")
        assert [entity.identifier for entity in run.entities] == [version]


def test_a_broken_file_in_the_middle_of_load_leaves_the_old_routes_in_force_until_it_is_mended(
    tmp_path: Path,
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(routes("old"))
    with under_load(tmp_path, file) as (agent, load):
        before = begun_behind_gate(agent, "old")
        file.write_text(BROKEN)
        [problem] = agent.wait_line("routes reload refused")["problems"]
        assert all(part in problem for part in (str(file), "routes[0]", "htp", "http")), problem
        agent.wait_metric("agent_config_last_reload_successful", 0)
        meanwhile = begun_behind_gate(agent, "old", 2)
        load.go_on()
        assert versions_of(agent, load.run_ids) == ["old"]

        file.write_text(routes("new"))
        agent.wait_line("routes reloaded")
        agent.wait_metric("agent_config_last_reload_successful", 1)
        reloaded = load.from_now_on
        after = begun_behind_gate(agent, "new")
        load.go_on()
        assert versions_of(agent, load.run_ids[reloaded:]) == ["new"]
        check_kept(agent, "old", [before, meanwhile])
        check_kept(agent, "new", [after])
    assert versions_of(agent, load.run_ids) == ["old", "new"]
    assert len(agent.lines("routes reload refused")) == len(agent.lines("routes reloaded")) == 1


def test_a_config_map_that_is_swapped_as_a_whole_takes_effect_once(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "mount", **{"routes.yaml": routes("old"), "other": "1"})
    with under_load(tmp_path, mount.path("routes.yaml")) as (agent, load):
        before = begun_behind_gate(agent, "old")
        mount.swap(**{"routes.yaml": routes("old"), "other": "2"})  # another key of it changed
        load.go_on()
        mount.swap(**{"routes.yaml": routes("new"), "other": "2"})
        agent.wait_line("routes reloaded")
        reloaded = load.from_now_on
        after = begun_behind_gate(agent, "new")
        load.go_on()
        assert versions_of(agent, load.run_ids[reloaded:]) == ["new"]
        check_kept(agent, "old", [before])
        check_kept(agent, "new", [after])
    assert versions_of(agent, load.run_ids) == ["old", "new"]
    assert len(agent.lines("routes reloaded")) == 1
    assert agent.lines("routes reload refused") == []


def test_a_file_that_is_gone_for_a_moment_is_told_and_costs_no_run(tmp_path: Path) -> None:
    file, aside = tmp_path / "routes.yaml", tmp_path / "aside"
    file.write_text(routes("old"))
    with under_load(tmp_path, file) as (agent, load):
        before = begun_behind_gate(agent, "old")
        file.rename(aside)
        [problem] = agent.wait_line("routes reload refused")["problems"]
        assert str(file) in problem
        agent.wait_metric("agent_config_last_reload_successful", 0)
        load.go_on()
        aside.rename(file)
        agent.wait_line("routes reloaded")
        agent.wait_metric("agent_config_last_reload_successful", 1)
        load.go_on()
        check_kept(agent, "old", [before])
    assert versions_of(agent, load.run_ids) == ["old"]
    assert len(agent.lines("routes reload refused")) == len(agent.lines("routes reloaded")) == 1
