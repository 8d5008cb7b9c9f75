"""Small projects, run with two workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
WITH_WORKERS = ("pytest", "-p", "tests.workers.plugin")

MEET = """\
import time
from pathlib import Path
import pytest

def meet(me, other):
    Path(me).touch()
    deadline_s = time.monotonic() + 120
    while not Path(other).exists():
        assert time.monotonic() < deadline_s, "there is no second worker"
        time.sleep(0.005)
"""


def run(project: Path, files: Mapping[str, str], *command: str) -> str:
    """What the module ``command`` says, all in order."""
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(dedent(text))
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_", "PYTHON"))
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=inherited | {"PYTHONPATH": f"{ROOT}:{project}", "TMPDIR": str(project)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  alone: quiet\naddopts = --strict-markers --import-mode=importlib\n"
    )
    return tmp_path


def test_what_is_marked_runs_while_nothing_else_does(project: Path) -> None:
    files = {
        "meet.py": MEET,
        "test_many.py": """\
            from meet import *

            def test_another_worker_is_at_work():
                meet("many", "loud")

            @pytest.mark.parametrize("number", range(150))
            def test_is_never_beside(number):
                assert not Path("is alone").exists()
                Path("is there").touch()
                time.sleep(0.002)
                Path("is there").unlink()
                assert not Path("is alone").exists()
            """,
        "test_loud.py": """\
            from meet import *

            def test_another_worker_is_at_work():
                meet("loud", "many")

            @pytest.mark.alone
            @pytest.mark.parametrize("number", range(20))
            def test_is_alone(number):
                assert not Path("is there").exists()
                Path("is alone").touch()
                time.sleep(0.01)
                Path("is alone").unlink()
                assert not Path("is there").exists()
            """,
    }
    assert "172 passed" in run(project, files, *WITH_WORKERS, "-n", "2")
    left = {file.name for file in project.iterdir() if file.name.startswith("action-agent-tests-")}
    assert left == set()


def test_waiting_for_quiet_is_not_within_a_tests_time(project: Path) -> None:
    files = {
        "meet.py": MEET,
        "test_long.py": """\
            from meet import *

            def test_lasts():
                meet("long", "short")
                time.sleep(3)
            """,
        "test_short.py": """\
            from meet import *

            def test_another_worker_is_at_work():
                meet("short", "long")

            @pytest.mark.alone
            @pytest.mark.timeout(1)
            def test_is_quick():
                pass
            """,
    }
    assert "3 passed" in run(project, files, *WITH_WORKERS, "-n", "2")


def test_who_wants_to_be_alone_and_long_rooms_come_first(project: Path) -> None:
    note = "def test_it():\n    open('order', 'a').write({room!r} + ' ')\n"
    rooms = ("bench", "faults", "net", "routing", "whole")
    files = {f"{room}/test_{room}.py": note.format(room=room) for room in rooms}
    files["net/test_net.py"] += "\nimport pytest\n\n@pytest.mark.alone\ndef test_alone():\n    pass\n"
    run(project, files, *WITH_WORKERS, "-n", "1")
    assert (project / "order").read_text().split() == ["net", "whole", "faults", "bench", "routing"]


def test_a_room_that_shares_its_agents_is_for_one_worker(project: Path) -> None:
    note = "    import os\n    open('workers', 'a').write(os.environ['PYTEST_XDIST_WORKER'] + ' ')\n"
    files = {
        "meet.py": MEET,
        "tests/whole/test_one.py": f"from meet import *\n\ndef test_it():\n    meet('here', 'there')\n{note}",
        "tests/whole/test_two.py": f"def test_it():\n{note}",
        "tests/whole/test_three.py": f"def test_it():\n{note}",
        "tests/bench/test_it.py": "from meet import *\n\ndef test_it():\n    meet('there', 'here')\n",
    }
    assert "4 passed" in run(project, files, *WITH_WORKERS, "-n", "2")
    workers = (project / "workers").read_text().split()
    assert (len(workers), len(set(workers))) == (3, 1)


def test_coverage_knows_what_each_worker_executed(project: Path) -> None:
    files = {
        ".coveragerc": "[run]\nbranch = true\nparallel = true\nsource = made\n",
        "made.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n",
        "meet.py": MEET,
        "test_one.py": "import made\nfrom meet import *\n\ndef test_it():\n    meet('1', '2')\n    made.one()\n",
        "test_two.py": "import made\nfrom meet import *\n\ndef test_it():\n    meet('2', '1')\n    made.two()\n",
    }
    assert "2 passed" in run(project, files, "coverage", "run", "-m", *WITH_WORKERS, "-n", "2")
    run(project, {}, "coverage", "combine")
    run(project, {}, "coverage", "json")
    told = json.loads((project / "coverage.json").read_text())["files"]["made.py"]
    assert told["executed_lines"] == [1, 2, 5, 6, 9]
    assert told["missing_lines"] == [10]
