"""Commands: how many in a second, and how much output."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.comparison import Task, compare
from tests.bench.figures import Figure, Floor, at_least, ratio_at_least, ratio_at_most
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import ECHO, routes
from tests.bench.site import Bare
from tests.bench.usage import Cpu, forget_peak, peak_mib, resident_mib

THREADS = Bare("threads and Popen, 8 at once", "threads", "aiohttp", "asyncio", at_once=8)
ASYNCIO = Bare("asyncio's subprocess, 8 at once", "asyncio", "aiohttp", "asyncio", at_once=8)

_OUTPUT_MIB = 1024
_OUTPUT = """\
  - name: output
    match: {action: output}
    secrets: [BENCH_TOKEN, BENCH_PASSWORD, BENCH_KEY]
    process:
      command: [sh, -c, 'yes "$LINE" | head -c "$BYTES"']
      env:
        BYTES: "%d"
        LINE: "2026-01-01T00:00:00Z INFO worker-7 applied change 000123 of 4711 to service catalogue: all is well"
"""
_SECRETS = {
    "BENCH_TOKEN": "ghp_madeUp0123456789abcdefABCDEF",
    "BENCH_PASSWORD": "made up & quite long, too",
    "BENCH_KEY": "b3BlbnNzaC1rZXktbWFkZS11cA==",
}
_MIB = 1024 * 1024
_NO_MORE = 1.25
"""Differences within a quarter mean nothing."""


def _commands(lab: Lab) -> Iterator[Figure]:
    found = compare(lab, Task("echo", 5000, routes(ECHO)), (THREADS, ASYNCIO))
    yield found.per_second(beside=THREADS)
    yield from found.per_core(against={THREADS: ratio_at_least(0.8), ASYNCIO: ratio_at_least(0.8)})
    yield from found.cpu()
    yield found.requests()


def _output(lab: Lab) -> Iterator[Figure]:
    size_mib = lab.wanted.of(_OUTPUT_MIB)
    size_mb = size_mib * _MIB / 1e6
    rates, cpu_rates, before_mib, peaks = [], [], [], []
    with lab.site(routes(ECHO, _OUTPUT % (size_mib * _MIB))) as site:
        agent = site.start_agent(**_SECRETS)
        site.warm_up("echo")
        for _ in range(lab.wanted.rounds):
            forget_peak(agent.pid)
            before_mib.append(resident_mib(agent.pid))
            site.port.reset()
            before, began_s = Cpu.of(agent.pid), time.monotonic()
            site.produce(site.workload.records("output", 1))
            counts = site.wait_ended(1, standstill_s=600)
            assert not counts.failed, "the command failed"
            # what runs under the agent is over: what it used counts as its children's
            used = Cpu.of(agent.pid).since(before)
            rates.append(size_mb / (counts.last_status_s - began_s))
            cpu_rates.append(size_mb / used.own_s)
            peaks.append(peak_mib(agent.pid))
    yield Figure(f"{size_mib} MiB of output, by the clock", "MB/s", rates, at_least(100))
    yield Figure("the same per CPU second of the agent", "MB/s", cpu_rates, at_least(100))
    floor = Floor("before", before_mib)
    yield Figure("the most memory meanwhile", "MiB", peaks, ratio_at_most(_NO_MORE), floor)


SCENARIOS = (
    Scenario("process", "commands that print one short line", _commands),
    Scenario("process-output", "one command that prints 1 GiB, three secrets to be masked", _output),
)
