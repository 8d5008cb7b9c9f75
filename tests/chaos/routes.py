"""The routes and the work behind them: every executor, with ``on_interrupted: fail`` and with ``rerun``."""

from __future__ import annotations

from pathlib import Path

from tests.broker.worklog import SHELL
from tests.chaos.order import EXECUTORS, MAX_ATTEMPTS, POLICIES

AGENT_VARIABLE = "CHAOS_AGENT"
"""The environment variable of an agent that holds its name, for the work to note."""

ROUTE_TIMEOUT_S = 20
"""Far more than any work takes, and little enough to wait for the end of what an agent took with it."""

_FACTS = {"ATTEMPT": "{{ .run.attempt }}", "AGENT": f"{{{{ env.{AGENT_VARIABLE} }}}}"}
_LIMITS = [f"    env: [{AGENT_VARIABLE}]", f"    timeout: {ROUTE_TIMEOUT_S}s"]


def write_routes(home: Path, worklog: Path, target_url: str) -> str:
    """The text of the routes file; the Python actions are written into ``home``."""
    (home / "chaos_actions.py").write_text(_ACTIONS.format(worklog=str(worklog)))
    lines = ["routes:"]
    for executor in EXECUTORS:
        for policy in POLICIES:
            action = f"do_{executor}_{policy}"
            by_action = f"{{action: {action}}}"
            by_node = f"{{when: '.message.payload.action.invocationMethod.url | endswith(\"/{action}\")'}}"
            key = 'key: "{{ .inputs.key }}"'
            lines += [
                *_route(executor, policy, by_action, ".inputs.seconds", worklog, target_url),
                f"    {key}",
                *_route(executor, policy, by_node, ".message.seconds", worklog, target_url, suffix="-node"),
            ]
    body = {"run_id": "{{ .message.context.entity }}", "takes_s": "{{ .message.diff.after.properties.seconds }}"}
    lines += [
        "  - name: change-event",
        "    match: {kind: change_event}",
        f'    http: {{url: "{target_url}/work", body: {_yaml({**body, **_FACTS})}}}',
        *_LIMITS,
        *_interrupted("rerun"),
    ]
    return "\n".join(lines) + "\n"


def _route(
    executor: str, policy: str, match: str, seconds: str, worklog: Path, target_url: str, suffix: str = ""
) -> list[str]:
    work = SHELL.replace("{work}", 'sleep "$TAKES_S"')
    environment = {**_FACTS, "TAKES_S": f"{{{{ {seconds} }}}}", "WORKLOG": str(worklog)}
    body = {"run_id": "{{ .run.id }}", "takes_s": f"{{{{ {seconds} }}}}", **_FACTS}
    doing = {
        "process": f"process: {{command: [/bin/sh, -c, {work!r}], env: {_yaml(environment)}}}",
        "http": f'http: {{url: "{target_url}/work", body: {_yaml(body)}}}',
        "python_async": 'python: {callable: "chaos_actions:in_loop"}',
        "python_sync": 'python: {callable: "chaos_actions:in_thread"}',
    }
    return [
        f"  - name: {executor}-{policy}{suffix}",
        f"    match: {match}",
        f"    {doing[executor]}",
        *_LIMITS,
        *_interrupted(policy),
    ]


def _interrupted(policy: str) -> list[str]:
    return [
        f"    on_interrupted: {policy}",
        *([f"    max_attempts: {MAX_ATTEMPTS}"] if policy == "rerun" else []),
    ]


def _yaml(values: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}: "{value}"' for name, value in values.items()) + "}"


_ACTIONS = """\
import asyncio
import os
import time
from pathlib import Path

from agent import Run, Succeeded
from tests.broker.worklog import Worklog

_WORKLOG = Worklog(Path({worklog!r}))


def _noted(run: Run):
    return _WORKLOG.noted(str(run.run_id), str(run.attempt), os.environ["CHAOS_AGENT"])


def _takes_s(run: Run) -> float:
    message = run.view.value["message"]
    return float(run.inputs["seconds"] if "seconds" in run.inputs else message["seconds"])


async def in_loop(run: Run) -> Succeeded:
    with _noted(run):
        run.log("began")
        await asyncio.sleep(_takes_s(run))
    return Succeeded("made in the loop")


def in_thread(run: Run) -> Succeeded:
    with _noted(run):
        run.log("began")
        time.sleep(_takes_s(run))
    return Succeeded("made in a thread")
"""
