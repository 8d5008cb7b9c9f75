"""The hard end comes whatever hangs, and whatever cannot be had any more. Real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ARMED = """\
import threading, time
from agent.leaving import HardEnd

def say():
    {say}

hard_end = HardEnd(0.05, say)
{between}
hard_end.arm()
hard_end.arm()
time.sleep(60)
"""
_NO_THREADS = """
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""


@pytest.mark.parametrize(
    ("say", "between", "said"),
    [
        ("print('last words', flush=True)", "", "last words\n"),
        ("time.sleep(60)", "", ""),
        ("raise ValueError", "", ""),
        ("print('last words', flush=True)", _NO_THREADS, ""),
    ],
    ids=["it is said", "saying it hangs", "saying it fails", "no thread is to be had"],
)
def test_the_process_ends_with_1(say: str, between: str, said: str) -> None:
    program = _ARMED.format(say=say, between=between)
    ended = subprocess.run([sys.executable, "-c", program], timeout=20, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, said)


def test_it_leaves_also_where_stdout_was_closed_before_the_start() -> None:
    leaves = "import sys; from agent.leaving import leave; assert sys.stdout is None; leave(7)"
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", leaves], timeout=30, check=False
    )
    assert ended.returncode == 7
