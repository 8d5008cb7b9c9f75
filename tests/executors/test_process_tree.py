from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from agent.executors.process_tree import TRACKING_VARIABLE, Command, Descendants
from tests.broker.waiting import wait_until


def test_an_orphan_that_was_seen_once_stays_known_without_its_environment(tmp_path: Path) -> None:
    """As the dying are: a killed process loses its environment before it is a zombie that can be reaped."""
    script, ready = tmp_path / "orphan.sh", tmp_path / "pid"
    script.write_text(
        f"trap 'exec env -i sleep 99' USR1\n"
        f"echo $$ >{ready}.new\nmv {ready}.new {ready}\n"
        "while :; do sleep 0.05; done\n"
    )
    descendants = Descendants()
    tracking_id = descendants.new_tracking_id()
    parent = subprocess.Popen(
        ["/bin/sh", "-c", f"setsid sh {script} & exit 0"], env={**os.environ, TRACKING_VARIABLE: tracking_id}
    )
    command = Command(parent.pid, tracking_id)
    descendants.add(command)
    assert parent.wait(20) == 0
    wait_until(ready.exists, timeout_s=20, what="the orphan", pause_s=0.005)
    orphan = int(ready.read_text())
    try:
        assert orphan in descendants.living(command)
        os.kill(orphan, signal.SIGUSR1)
        wait_until(
            lambda: not Path(f"/proc/{orphan}/environ").read_bytes(),
            timeout_s=20,
            what="the orphan to lose its environment",
            pause_s=0.005,
        )
        assert orphan in descendants.living(command)
    finally:
        os.kill(orphan, signal.SIGKILL)
        wait_until(lambda: not descendants.living(command), timeout_s=20, what="the orphan's end", pause_s=0.005)
        descendants.remove(tracking_id, parent.pid)
    assert not Path(f"/proc/{orphan}").exists()
