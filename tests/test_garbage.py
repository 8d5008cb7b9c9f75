"""The collector is set for the whole process: so in one of its own."""

from __future__ import annotations

import subprocess
import sys

SCENE = """
import gc, weakref
from agent.garbage import leave_out_what_stands

class Thing:
    pass

gone, stays = Thing(), Thing()
gone.itself = gone
seen = weakref.ref(gone)
del gone
leave_out_what_stands()
assert seen() is None, "what is garbage already is not kept"
assert gc.get_threshold()[0] == 2_000
assert all(one is not stays for one in gc.get_objects())
later = Thing()
later.itself = later
seen = weakref.ref(later)
del later
for _ in range(3):
    young = [[] for _ in range(3_000)]
assert seen() is None, "what comes later is collected"
"""


def test_what_stands_is_passed_over_and_what_comes_later_is_collected() -> None:
    done = subprocess.run([sys.executable, "-c", SCENE], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
