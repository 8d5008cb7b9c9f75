"""Searches one target after the other, each in a process of its own: ``make fuzz SECONDS=60 SEED=1``.

What was found interesting is kept under ``.cache/fuzz/TARGET/corpus``, where the next search goes on; an input that
breaks a promise is kept beside it as ``found-…``, to be tried again with `tests.fuzz.replay`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

from tests.fuzz.target import NAMES, load

_FOLDER = Path(__file__).parents[2] / ".cache" / "fuzz"
_SLOWEST_INPUT_S = 30
_MEMORY_MB = 2048
_STATE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_RUNS = re.compile(r"stat::number_of_executed_units: *(\d+)")


def main() -> int:
    """Prints a line for each target; 1 if some input broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], metavar="TARGET", help=" ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="1 or more")
    options = parser.parse_args()
    _say(f"seed {options.seed}, {options.seconds} s for each target")
    held = [_search(name, options.seconds, options.seed) for name in options.targets or NAMES]
    return 0 if all(held) else 1


def _search(name: str, seconds: int, seed: int) -> bool:
    """Whether all held. The log of the search is kept."""
    home = _FOLDER / name
    corpus, seeds, log = home / "corpus", home / "seeds", home / "log"
    corpus.mkdir(parents=True, exist_ok=True)
    _write_seeds(name, seeds)
    command = [sys.executable, "-u", "-m", "tests.fuzz.search", name, str(corpus), str(seeds)]
    limits = [f"-max_total_time={seconds}", f"-timeout={_SLOWEST_INPUT_S}", f"-rss_limit_mb={_MEMORY_MB}"]
    flags = [f"-seed={seed}", f"-artifact_prefix={home}/found-", "-print_final_stats=1", *limits]
    with log.open("wb") as sink:
        code = subprocess.run([*command, *flags], stdout=sink, stderr=subprocess.STDOUT, check=False).returncode
    text = log.read_text(errors="replace")
    _say(f"{name}: {_told(text)}" + ("" if code == 0 else f", and ended with {code}:\n{_broken(text)}"))
    return code == 0


def _write_seeds(name: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for seed in load(name).seeds:
        (folder / sha256(seed).hexdigest()[:16]).write_bytes(seed)


def _told(log: str) -> str:
    runs, states = _RUNS.search(log), _STATE.findall(log)
    coverage, features, inputs = states[-1] if states else ("?", "?", "?")
    count = f"{int(runs[1]):,}" if runs else "?"
    return f"{count} inputs, coverage {coverage}, features {features}, corpus {inputs}"


def _broken(log: str) -> str:
    """From where the log tells of the input that broke a promise."""
    begin = max(log.find("=== Uncaught Python exception"), log.find("ERROR: libFuzzer"), log.find("==ERROR"), 0)
    return "\n".join(log[begin:].splitlines()[:60])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
