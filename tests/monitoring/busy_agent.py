"""An agent with much to do: runs of every kind, some that fail, and a Port that is not always well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.sandbox import messages
from agent.sandbox.faults import Fault
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent
from tests.whole.world import World, opened

ROUTES = """\
routes:
  - name: create-service
    match: {action: create_service}
    process: {command: [sh, -c, "for n in 1 2 3 4 5; do echo step $n; done; sleep 0.2"]}
  - name: rotate-secret
    match: {action: rotate_secret}
    process: {command: [sh, -c, "echo no such secret; exit 3"]}
  - name: dump
    match: {action: dump}
    process: {command: [sh, -c, "head -c 70000 /dev/zero | tr '\\\\0' x; seq 20000"]}
  - name: restart
    match: {action: restart}
    env: [TARGET]
    http: {method: PUT, url: "{{ env.TARGET }}/flaky/{{ .run.id }}"}
  - name: scale-up
    match: {action: scale_up}
    python: {callable: "whole_actions:create_microservice"}
  - name: migrate
    match: {action: migrate}
    max_concurrent: 1
    process: {command: [sleep, "1"]}
"""
ACTIONS = ("create_service", "rotate_secret", "dump", "restart", "scale_up", "migrate", "nobody_takes_this")
PAUSE_S = 0.5


@contextmanager
def busy_agent(home: Path, settings: dict[str, str] | None = None) -> Iterator[OneAgent]:
    """One agent under load, inside the block."""
    with opened(home) as world:
        limits = {"AGENT_MAX_CONCURRENT_RUNS": "10", "AGENT_LOG_MAX_BYTES": "65536"}
        agent = OneAgent(world, "busy", limits | (settings or {}), ROUTES)
        agent.start()
        enough = threading.Event()
        load = threading.Thread(target=_load, args=(world, agent, enough), name="load")
        try:
            agent.wait_ready()
            load.start()
            yield agent
        finally:
            enough.set()
            if load.ident is not None:
                load.join()
            agent.kill()


def _load(world: World, agent: OneAgent, enough: threading.Event) -> None:
    while not enough.wait(PAUSE_S):
        for action in ACTIONS:
            agent.invoke(action, {"name": "a-service", "region": "eu"})
        forged = messages.webhook(
            Click(world.begin_run("forged"), "create_service", org_id=agent.org), "https://hook.example"
        )
        agent.deliver(forged)
        agent.deliver(b"no message at all")
        world.misbehave(Fault("*/logs", status=503), Fault("*/runs/*", "PATCH", status=429))
