"""The agent against a real Apache Kafka, with real processes and signals, and Port's stand-in as the judge."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from agent.delivery.offset_map import Mark
from agent.domain.json import JsonObject
from agent.sandbox import messages
from tests.broker.real_kafka import AGENT, Account, RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import noise, orders

pytestmark = pytest.mark.kafka

SEED = int(os.environ.get("BROKER_SEED") or random.SystemRandom().randrange(10**6))


both_protocols = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@pytest.fixture
def chance() -> random.Random:
    """Chance with a seed that a failed test prints; BROKER_SEED=… repeats it."""
    print(f"BROKER_SEED={SEED}")  # noqa: T201 - pytest shows it for failed tests only
    return random.Random(SEED)  # noqa: S311 - no secrets are made of it


@pytest.mark.timeout(240)
@both_protocols
def test_two_agents_one_stopped_half_way_finish_2000_mixed_runs_once_each(
    kafka: RealKafka, tmp_path: Path, chance: random.Random, protocol: str
) -> None:
    with Stage(kafka, tmp_path, f"org_T3stTwo{protocol}") as stage:
        stage.make_topics()
        settings = {"AGENT_KAFKA_GROUP_PROTOCOL": protocol}
        leaver, stayer = stage.start_agent("leaver", settings), stage.start_agent("stayer", settings)
        leaver.wait_ready()
        stayer.wait_ready()
        stage.place([], noise(chance, 200, stage.org))
        stage.wait_committed()  # of the group's first records Port is asked
        placed = orders(chance, 2000, stage.org, stage.port.client_secret)
        stage.place(placed[:1000])

        stage.wait_executed(500)
        assert leaver.stop(timeout_s=60) == 0, leaver.tail()
        stage.place(placed[1000:])  # whatever the leaver was quick enough to do, there is work for the stayer
        stage.wait_finished(timeout_s=120)
        assert stayer.stop(timeout_s=60) == 0, stayer.tail()

        stage.check_each_run_once()
        runs = stage.port.runs()
        assert len(runs) == 2000
        with_response = {order.run_id for order in placed if (order.shape, order.executor) == ("webhook", "http")}
        too_many = {n: run for n, run in runs.items() if run["requests"] > (3 if n in with_response else 2)}
        assert too_many == {}, "a short quiet run costs two requests, and one more with its target's response"


def test_the_tutorials_message_reaches_each_executor(kafka: RealKafka, tmp_path: Path) -> None:
    def ordered(run_id: str, action: str) -> bytes:
        """The tutorial's message as it stands there: wrapped, unsigned, with a method that is not for agents."""
        click = messages.Click(
            run_id, action, {"name": "my-microservice", "region": "eu-west-1"}, "microservice", org_id=stage.org
        )
        method: JsonObject = {"url": "https://smee.io/HWbNEEngVPEQRJA", "agent": False, "type": "WEBHOOK"}
        return messages.wire_text(messages.tutorial(click, method)).encode()

    with Stage(kafka, tmp_path, "org_T3stTutorial") as stage:
        stage.make_topics()
        stage.routes.write_text(_TUTORIAL_ROUTES.format(url=stage.executions.url))
        (tmp_path / "tutorial_actions.py").write_text(_TUTORIAL_ACTION)
        wanted = {f"r_tutorial{kind}": f"create_{kind}" for kind in ("process", "http", "python")}
        for run_id, action in wanted.items():
            stage.port.create_run(run_id, action)
        stage.client.produce(stage.topic, [ordered(run_id, action) for run_id, action in wanted.items()])
        agent = stage.start_agent("agent")
        stage.wait_finished(timeout_s=60)
        assert agent.stop(timeout_s=30) == 0, agent.tail()

        runs = stage.port.runs()
        assert [runs[run_id]["terminal_statuses"] for run_id in wanted] == [["SUCCESS"]] * 3, stage.report()
        for kind in ("process", "python"):
            log = "\n".join(line["message"] for line in runs[f"r_tutorial{kind}"]["logs"])
            assert "my-microservice in eu-west-1" in log
        assert [body["inputs"] for body in stage.executions.requests] == [
            {"name": "my-microservice", "region": "eu-west-1"}
        ]
        assert runs["r_tutorialprocess"]["links"] == ["https://git.example.com/my-microservice"]
        assert runs["r_tutorialpython"]["summary"] == "created my-microservice"


def test_an_agent_that_starts_before_its_broker_waits_for_it(
    kafka_libs: Path, tmp_path: Path, chance: random.Random
) -> None:
    kafka = RealKafka(kafka_libs, tmp_path / "kafka")
    try:
        with Stage(kafka, tmp_path, "org_T3stEarly") as stage:
            agent = stage.start_agent("agent")
            wait_until(lambda: agent.probe("/livez") == 200, timeout_s=30, what=agent.tail)
            settled_s = time.monotonic() + 5
            wait_until(lambda: time.monotonic() > settled_s, timeout_s=10, what="the agent to show its manners")
            assert agent.running, agent.tail()
            assert agent.probe("/livez") == 200
            assert agent.probe("/readyz") == 503
            complaints = [line for line in agent.output().splitlines() if kafka.bootstrap in line]
            assert len(complaints) == 1, agent.output()

            kafka.start()
            stage.make_topics()
            agent.wait_ready()
            stage.place(orders(chance, 20, stage.org, stage.port.client_secret))
            stage.wait_finished(timeout_s=60)
            assert agent.stop(timeout_s=30) == 0, agent.tail()
            stage.check_each_run_once()
    finally:
        kafka.close()


def test_a_broker_that_restarts_in_the_middle_of_runs_loses_nothing(
    kafka: RealKafka, tmp_path: Path, chance: random.Random
) -> None:
    with Stage(kafka, tmp_path, "org_T3stBounce", pause_s=0.3) as stage:
        stage.make_topics()
        agent = stage.start_agent("agent", {"AGENT_MAX_CONCURRENT_RUNS": "8"})
        agent.wait_ready()
        stage.place(orders(chance, 300, stage.org, stage.port.client_secret))
        stage.wait_executed(60)
        kafka.stop()
        assert stage.port.unfinished() > 0, "the broker stopped too late: all runs had ended"
        kafka.start()
        stage.wait_finished(timeout_s=90)
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()


@both_protocols
def test_runs_that_ended_above_one_that_was_killed_are_not_executed_again(
    kafka: RealKafka, tmp_path: Path, protocol: str
) -> None:
    with Stage(kafka, tmp_path, f"org_T3stKilled{protocol}") as stage:
        slow, quick = _place_gated(stage, slow=12, quick=300)
        settings = {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000", "AGENT_KAFKA_GROUP_PROTOCOL": protocol}
        killed = stage.start_agent("killed", settings)

        def is_remembered() -> bool:
            maps = stage.offset_maps().values()
            done = sum(known.base + known.marks.count(Mark.DONE) for known in maps)
            return (done, sum(known.marks.count(Mark.STARTED) for known in maps)) == (len(quick), len(slow))

        wait_until(is_remembered, timeout_s=60, what=stage.report)
        killed.end()
        (stage.home / "gate").touch()
        heir = stage.start_agent("heir", settings)
        stage.wait_finished(timeout_s=60)
        wait_until(stage.is_committed, timeout_s=60, what=stage.report)  # what had ended is still to be passed over
        assert heir.stop(timeout_s=30) == 0, heir.tail()

        executed, runs = stage.executions.by_run(), stage.port.runs()
        assert {run_id: executed[run_id] for run_id in quick if executed[run_id] != 1} == {}
        assert {run_id: executed[run_id] for run_id in slow if executed[run_id] != 1} == {}
        assert {tuple(runs[run_id]["terminal_statuses"]) for run_id in quick} == {("SUCCESS",)}
        assert {tuple(runs[run_id]["terminal_statuses"]) for run_id in slow} == {("FAILURE",)}
        assert not any(run["refused_statuses"] for run in runs.values())
        assert {known.marks for known in stage.offset_maps().values()} == {b""}


@both_protocols
def test_an_agent_that_stood_still_and_lost_its_partitions_executes_nothing_twice(
    kafka: RealKafka, tmp_path: Path, protocol: str
) -> None:
    """A pause of the machine, a starved pod: its runs go on, and their messages come again."""
    with Stage(kafka, tmp_path, f"org_T3stPaused{protocol}") as stage:
        slow, quick = _place_gated(stage, slow=6, quick=60)
        settings = {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000", "AGENT_KAFKA_GROUP_PROTOCOL": protocol}
        agent = stage.start_agent("paused", settings)
        stage.wait_executed(len(slow) + len(quick))
        agent.send(signal.SIGSTOP)
        wait_until(
            lambda: stage.client.members(stage.group) == 0, timeout_s=60, what="the group to lose its member"
        )
        agent.send(signal.SIGCONT)
        wait_until(lambda: "partitions lost" in agent.output(), timeout_s=60, what=stage.report)
        wait_until(lambda: "delivered again" in agent.output(), timeout_s=60, what=stage.report)
        (stage.home / "gate").touch()
        stage.wait_finished(timeout_s=60)
        # Each message comes again, and is passed over.
        stage.wait_committed()
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()


def _place_gated(stage: Stage, *, slow: int, quick: int) -> tuple[list[str], list[str]]:
    """Runs that end once the file ``gate`` stands in the stage's home, and runs above them that end at once."""
    stage.make_topics()
    stage.routes.write_text(_GATED_ROUTES.format(executions=stage.executions.file, gate=stage.home / "gate"))
    runs = {name: [f"r_{name}{n:03d}" for n in range(count)] for name, count in (("slow", slow), ("quick", quick))}
    for name, run_ids in runs.items():
        clicks = [messages.Click(run_id, f"do_{name}", {}, "service", org_id=stage.org) for run_id in run_ids]
        for click in clicks:
            stage.port.create_run(click.run_id, click.action)
        stage.client.produce(
            stage.topic, [messages.wire_text(messages.kafka_v1(click)).encode() for click in clicks]
        )
    return runs["slow"], runs["quick"]


def test_a_wrong_password_is_told_and_a_new_one_is_fetched(
    kafka: RealKafka, tmp_path: Path, chance: random.Random
) -> None:
    with Stage(kafka, tmp_path, "org_T3stPass", account=Account(AGENT.username, "wrong-secret")) as stage:
        stage.make_topics()
        agent = stage.start_agent("agent")
        wait_until(lambda: "uthentication" in agent.output(), timeout_s=60, what=agent.tail)
        assert agent.probe("/livez") == 200
        assert agent.probe("/readyz") == 503

        doctor = agent.ask("doctor")
        assert doctor.returncode == 1, doctor
        assert "uthentication" in doctor.stdout + doctor.stderr
        assert "Traceback" not in agent.output() + doctor.stdout + doctor.stderr
        assert "wrong-secret" not in agent.output() + doctor.stdout + doctor.stderr

        stage.give_out(AGENT)
        agent.wait_ready(timeout_s=100)
        stage.place(orders(chance, 20, stage.org, stage.port.client_secret))
        stage.wait_finished(timeout_s=60)
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()


_GATED_ROUTES = """\
routes:
  - name: slow
    match: {{action: do_slow}}
    process:
      command: [/bin/sh, -c, 'echo "$RUN_ID slow" >>"$EXECUTIONS"; until [ -e "$GATE" ]; do sleep 0.1; done']
      env: {{EXECUTIONS: "{executions}", GATE: "{gate}"}}
  - name: quick
    match: {{action: do_quick}}
    process:
      command: [/bin/sh, -c, 'echo "$RUN_ID quick" >>"$EXECUTIONS"']
      env: {{EXECUTIONS: "{executions}"}}
"""

_TUTORIAL_ROUTES = """\
routes:
  - name: by-process
    match: {{action: create_process, blueprint: microservice}}
    process:
      command: [/bin/sh, -c, 'echo "$1 in $2"; echo "link=https://git.example.com/$1" >>"$AGENT_OUTPUT"', create,
        "{{{{ .inputs.name }}}}", "{{{{ .inputs.region }}}}"]
  - name: by-http
    match: {{action: create_http}}
    http: {{method: POST, url: "{url}/create", body: {{inputs: "{{{{ .inputs }}}}"}}}}
  - name: by-python
    match: {{action: create_python}}
    python: {{callable: "tutorial_actions:create"}}
"""

_TUTORIAL_ACTION = """\
from agent import Run, Succeeded


async def create(run: Run) -> Succeeded:
    run.log(f"{run.inputs['name']} in {run.inputs['region']}")
    return Succeeded(f"created {run.inputs['name']}")
"""
