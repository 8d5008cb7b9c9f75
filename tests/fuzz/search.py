"""One target under atheris, coverage-guided: ``python -m tests.fuzz.search TARGET [libFuzzer's own arguments]``."""

from __future__ import annotations

import sys
from random import Random

import atheris  # type: ignore[import-untyped]  # it is only in the environment that `make fuzz` makes

from tests.fuzz.target import load

_OWN_SHARE = 0.5
"""How often a target makes the neighbour; else libFuzzer does, which learns what the code compares with."""


def main() -> None:
    """Searches until libFuzzer ends the process: at its time, or at the first input that breaks a promise."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["agent"]):
        target = load(name)

    def neighbour(source: bytes, max_bytes: int, seed: int) -> bytes:
        chance = Random(seed)  # noqa: S311 - no secrets
        if chance.random() < _OWN_SHARE:
            return target.mutate(source, chance)[:max_bytes]
        made: bytes = atheris.Mutate(source, max_bytes)
        return made

    flags = [f"-max_len={target.max_bytes}", *arguments]
    atheris.Setup([name, *flags], target.check, custom_mutator=neighbour)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
