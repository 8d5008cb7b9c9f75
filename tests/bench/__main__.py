"""Measures what one agent handles on this machine, and prints it in Markdown: ``make bench``.

Takes some minutes. Figures of different machines, or of one that others use, cannot be compared: the load before
and after is printed with them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from agent import __version__
from tests.bench.bench import Bench, Load
from tests.broker.real_kafka import RealKafka

LOADS = (
    Load("python, `async`, does nothing", "python", 2000),
    Load("http, answered at once", "quick", 2000),
    Load("process, `/bin/true`", "process", 1000),
    Load("http, answered at once; Port takes 100 ms", "quick", 2000, port_takes_s=0.1),
    Load("http, answered after 1 s; 50 slots", "slow", 250),
    Load("http, answered after 1 s; 500 slots", "slow", 1500, slots=500),
)
AT_ONCE = (50, 1000)


def main() -> int:
    """Prints the tables."""
    options = _parser().parse_args()
    libs = Path(os.environ.get("KAFKA_LIBS", ""))
    if not list(libs.glob("kafka_2.13-*.jar")):
        sys.exit(f"KAFKA_LIBS is {str(libs)!r}, which holds no Kafka; `make bench` fetches it")
    _say(f"agent {__version__}, Python {platform.python_version()}, {os.cpu_count()} of {_processor()}; {_load()}")
    with tempfile.TemporaryDirectory() as folder:
        kafka = RealKafka(libs, Path(folder) / "kafka")
        try:
            kafka.start()
            _measure(Bench(kafka, Path(folder)), options.rounds)
        finally:
            kafka.close()
    _say(f"\nafterwards: {_load()}")
    return 0


def _measure(bench: Bench, rounds: int) -> None:
    _say(f"\nMedian of {rounds}:\n")
    _say("| runs of | a second | the agent's CPU per run | its children's | requests to Port per run |")
    _say("|---|---|---|---|---|")
    for name, reading in bench.throughput(LOADS, rounds).items():
        cpu = f"{reading.own_cpu_ms:.1f} ms | {reading.children_cpu_ms:.1f} ms"
        _say(f"| {name} | {reading.runs_per_s:.0f} | {cpu} | {reading.requests_per_run:.1f} |")
    _say("\n| requests under way at once | memory |\n|---|---|")
    for found in bench.memory(AT_ONCE):
        _say(f"| {found.at_once} | {found.mib:.0f} MiB |")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    return parser


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
