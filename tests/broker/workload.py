"""Messages of every shape for every executor, the routes for them, and noise that belongs to others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox import messages
from agent.sandbox.messages import Click

EXECUTORS = ("process", "http", "python_async", "python_sync")
SHAPES = ("tutorial", "kafka_v1", "kafka_v2", "webhook", "node_run")

ACTIONS = """\
import asyncio
import os
from pathlib import Path

from agent import Run, Succeeded

_FILE = Path(__file__).with_name("executions")


def _note(run: Run, kind: str) -> None:
    # one write with O_APPEND: lines of many processes do not mix
    opened = os.open(_FILE, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(opened, f"{run.run_id} {kind}\\n".encode())
    finally:
        os.close(opened)


async def in_loop(run: Run) -> Succeeded:
    _note(run, "python_async")
    run.log("began")
    await asyncio.sleep(0.01)
    run.link("https://example.com/" + str(run.run_id))
    return Succeeded("made in the loop")


def in_thread(run: Run) -> Succeeded:
    _note(run, "python_sync")
    run.log("began")
    return Succeeded("made in a thread")
"""

SCRIPT = 'echo "$RUN_ID process" >>"$EXECUTIONS"; echo began; sleep "${PAUSE:-0}"'


@dataclass(frozen=True, slots=True)
class Order:
    """One run that somebody asked for, and the record that says so."""

    run_id: str
    shape: str
    executor: str
    record: bytes


def routes_file(home: Path, executions: Path, target_url: str, pause_s: float = 0) -> Path:
    """Writes routes that send each message of `orders` to the executor it names; returns the file.

    Messages of the owner's making and workflow nodes carry no action; their routes ask for another part.
    """
    (home / "broker_actions.py").write_text(ACTIONS)
    work = {
        "process": f"process: {{command: [/bin/sh, -c, {SCRIPT!r}], "
        f'env: {{EXECUTIONS: "{executions}", PAUSE: "{pause_s}"}}}}',
        "http": f'http: {{url: "{target_url}/run", body: {{context: {{runId: "{{{{ .run.id }}}}"}}}}}}',
        "python_async": 'python: {callable: "broker_actions:in_loop"}',
        "python_sync": 'python: {callable: "broker_actions:in_thread"}',
    }
    lines = ["routes:"]
    for executor, doing in work.items():
        matches = {
            "by-action": f"action: do_{executor}",
            "by-message": f"when: '.message.wanted == \"{executor}\"'",
            "by-node": f'when: \'.run.kind == "node_run" and (.message.payload.action.invocationMethod.url'
            f' | endswith("/{executor}"))\'',
        }
        lines += [
            f"  - name: {executor}-{name}\n    match: {{{match}}}\n    {doing}" for name, match in matches.items()
        ]
    path = home / "routes.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def orders(chance: random.Random, count: int, org: str, client_secret: str) -> list[Order]:
    """``count`` orders of mixed shapes for mixed executors."""
    return [_order(chance, n, org, client_secret) for n in range(count)]


def _order(chance: random.Random, number: int, org: str, client_secret: str) -> Order:
    shape, executor = chance.choice(SHAPES), chance.choice(EXECUTORS)
    run_id = f"{'wfnr_' if shape == 'node_run' else 'r_'}{org[-4:]}{number:05d}"
    click = Click(run_id, f"do_{executor}", {"name": f"näme {number}", "small": 0.000001}, "service", org_id=org)
    url = f"http://127.0.0.1:9/{executor}"
    match shape:
        case "tutorial":
            text = messages.wire_text(messages.tutorial(click))
        case "kafka_v1":
            text = messages.wire_text(messages.kafka_v1(click))
        case "kafka_v2":
            place = chance.choice(["runId", "run_id"])
            text = messages.wire_text({"wanted": executor, **messages.kafka_v2(click, place)})
        case "webhook":
            agent: bool | str = chance.random() < 0.5 or "true"
            text = messages.signed_message(
                messages.webhook(click, url, synchronized=True, agent=agent), client_secret
            )
        case _:
            text = messages.signed_message(messages.node_run(run_id, url), client_secret)
    return Order(run_id, shape, executor, text.encode())


def noise(chance: random.Random, count: int, org: str) -> Iterator[bytes | None]:
    """Records that are not ours. Runs that they name begin with ``r_noise`` and must never be touched."""
    for n in range(count):
        click = Click(f"r_noise{n:04d}", "do_process", {"n": n}, "service", org_id=org)
        other = Click(click.run_id, "somebody_elses", {"n": n}, "service", org_id=org)
        yield chance.choice(
            [
                None,
                b"",
                b"not JSON \xff",
                b'[1, {"a": null}]',
                messages.wire_text(messages.kafka_v1(other)).encode(),
                messages.wire_text(messages.kafka_v2(other)).encode(),
                messages.wire_text(messages.webhook(click, "http://127.0.0.1:9/", agent="false")).encode(),
                messages.wire_text(messages.webhook(click, "http://127.0.0.1:9/")).encode(),
                messages.signed_message(messages.webhook(click, "http://127.0.0.1:9/"), "another secret").encode(),
                messages.wire_text(messages.node_run(f"wfnr_noise{n:04d}", "http://127.0.0.1:9/process")).encode(),
            ]
        )
