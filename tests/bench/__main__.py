"""Measures what one agent does on this machine, beside bare loops of the same stack: ``make bench``.

Takes the better part of an hour; ``--only`` and ``--quick`` shorten it. Figures of different machines, or of one
that others use, cannot be compared, but ratios can: every ratio is of two things that were measured in turns.
Differences within a quarter say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import KafkaException

from agent import __version__
from tests.bench.lab import Lab, Scenario, Wanted
from tests.bench.scenarios.catalogue import SCENARIOS
from tests.bench.table import HEAD, as_json, row
from tests.broker.kafka_libs import kafka_libs
from tests.broker.real_kafka import RealKafka


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; 1 if a scenario could not be measured."""
    given = _parser().parse_args(arguments)
    if given.list:
        for scenario in SCENARIOS:
            _say(f"{scenario.name:18} {scenario.what}")
        return 0
    if problem := _problem(given):
        sys.exit(problem)
    libs = kafka_libs()
    chosen = [one for one in SCENARIOS if given.only is None or one.name in given.only]
    rounds = given.rounds or (1 if given.quick else 3)
    wanted = Wanted(rounds, given.quick, given.full, given.seconds, given.beside)
    report = _measured(libs, chosen, wanted, given.json)
    return 1 if report["failed"] else 0


def _problem(given: argparse.Namespace) -> str | None:
    """What is wrong with the arguments, seen before anything is measured for an hour."""
    if given.rounds is not None and given.rounds < 1:
        return f"--rounds {given.rounds}: 1 or more were expected"
    if given.beside is not None and not (given.beside / "agent" / "__main__.py").is_file():
        return f"--beside {given.beside}: there is no working tree of the agent"
    if given.json is not None and not given.json.parent.is_dir():
        return f"--json {given.json}: there is no directory {given.json.parent}"
    return None


def _measured(libs: Path, chosen: list[Scenario], wanted: Wanted, json_file: Path | None) -> dict[str, Any]:
    report: dict[str, Any] = _machine() | {"rounds": wanted.rounds, "quick": wanted.quick, "scenarios": {}}
    report |= {"failed": {}, "load_before": os.getloadavg()[0], "load_after": None}
    _say(f"agent {__version__}, Python {report['python']}, {report['cores']} of {report['processor']}")
    _say(f"load average {report['load_before']:.1f}; {wanted.rounds} rounds{', quick' if wanted.quick else ''}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # the broker must not be left behind
    with tempfile.TemporaryDirectory() as folder:
        kafka = RealKafka(libs, Path(folder) / "kafka")
        try:
            kafka.start()
            lab = Lab(kafka, Path(folder), wanted)
            for scenario in chosen:
                _measure(scenario, lab, report)
                report["load_after"] = os.getloadavg()[0]
                if json_file is not None:  # after each: whoever ends it early has what was measured
                    json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        finally:
            kafka.close()
    _say(f"\nload average afterwards {os.getloadavg()[0]:.1f}")
    return report


def _measure(scenario: Scenario, lab: Lab, report: dict[str, Any]) -> None:
    """One that fails leaves the others alone."""
    _say(f"\n### {scenario.name}: {scenario.what}\n\n{HEAD}")
    figures = report["scenarios"].setdefault(scenario.name, [])
    began_s = time.monotonic()
    try:
        for figure in scenario.measure(lab):
            _say(row(figure))
            figures.append(as_json(figure))
    except (AssertionError, OSError, httpx.HTTPError, KafkaException) as error:
        report["failed"][scenario.name] = str(error)
        _say(f"\nnot measured: {error}")
    _say(f"\n{time.monotonic() - began_s:.0f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these scenarios")
    parser.add_argument("--list", action="store_true", help="tell the scenarios' names, and end")
    parser.add_argument("--rounds", type=int, help="how often each is measured; default 3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it works")
    parser.add_argument("--full", action="store_true", help="also drain a backlog of a million; takes long")
    parser.add_argument(
        "--seconds", type=float, help="how long latency-http, steady and idle take; default 40, 120, 30"
    )
    parser.add_argument("--beside", type=Path, metavar="TREE", help="compare with the agent of this working tree")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here, too")
    return parser


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor"
    )
    return {
        "agent": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": processor,
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
