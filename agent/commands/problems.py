"""How whoever calls a command is told what is wrong."""

from __future__ import annotations

import sys

from agent.domain.errors import ConfigurationError

CANNOT_START = "the agent cannot start; what is wrong:"
WRONG_SETTINGS = 2
"""The exit code where settings are missing or wrong, or the command line is."""


def tell_problems(error: ConfigurationError, first_words: str = CANNOT_START) -> None:
    """Every problem, a line each, on stderr."""
    lines = [first_words, *(f"  {problem}" for problem in error.problems)]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
