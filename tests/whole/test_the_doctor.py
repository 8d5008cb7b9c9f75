"""``action-agent doctor``: what it tries, and what it says of each thing that is wrong."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path

from tests.whole.commands import Commands, Ended
from tests.whole.world import CLIENT_SECRET, World


def test_doctor_finds_all_well(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path)
    org = commands.settings["PORT_ORG_ID"]
    for topic in (f"{org}.runs", f"{org}.change.log"):
        world.broker.create_topic(topic)
    world.port._routes._organization["id"] = org
    ended = commands("doctor")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all is well" in ended.stdout
    assert "FAIL" not in ended.stdout
    for name in ("routes", "state directory", "consumer group", "Port's API", "organisation", "Kafka", "topic"):
        assert re.search(rf"^ok +{name}: ", ended.stdout, re.MULTILINE), (name, ended.stdout)
    assert CLIENT_SECRET not in ended.stdout


def test_doctor_names_each_thing_that_is_wrong_with_a_hint_and_fails(failing_doctor: Future[Ended]) -> None:
    ended = failing_doctor.result()
    assert ended.returncode == 1
    for name in ("state directory", "Port's API", "Kafka"):
        assert re.search(rf"^FAIL +{name}: ", ended.stdout, re.MULTILINE), (name, ended.stdout)
    assert "AGENT_STATE_DIR" in ended.stdout
    assert "PORT_CLIENT_SECRET" in ended.stdout
    assert "checks failed" in ended.stdout
    assert "nobody may see" not in ended.stdout + ended.stderr
