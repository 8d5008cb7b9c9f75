"""Checks files again, one after the other: ``python -m tests.fuzz.replay TARGET FILE…``; needs no atheris.

Under ``coverage run -m`` it tells what a corpus reaches.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz.target import load


def main() -> None:
    """Raises what the first bad file makes the check raise."""
    name, *files = sys.argv[1:]
    target = load(name)
    for file in files:
        try:
            target.check(Path(file).read_bytes())
        except BaseException as error:
            error.add_note(f"with {file}")
            raise


if __name__ == "__main__":
    main()
