"""Where the kernel's count of victims is found, for each way that cgroups are laid out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.executors.oom import OomCounter, counter_file

V2_EVENTS = "low 0\nhigh 0\nmax 41\noom 4\noom_kill 3\noom_group_kill 0\n"
V1_CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V1_MEMBERSHIP = "9:name=systemd:/\n4:cpu,memory:/kubepods/pod1/c1\n3:cpuset:/\n"


@pytest.mark.parametrize(
    ("membership", "file", "content"),
    [
        ("0::/kubepods/pod1/c1\n", "kubepods/pod1/c1/memory.events", V2_EVENTS),
        ("0::/\n", "memory.events", V2_EVENTS),
        ("0::/../pod2/c1\n", "memory.events", V2_EVENTS),
        (V1_MEMBERSHIP, "memory/kubepods/pod1/c1/memory.oom_control", V1_CONTROL),
        (V1_MEMBERSHIP, "memory/memory.oom_control", V1_CONTROL),
        (f"{V1_MEMBERSHIP}0::/\n", "memory/memory.oom_control", V1_CONTROL),
    ],
    ids=["version 2", "version 2, own root", "version 2, moved", "version 1", "version 1, own root", "both"],
)
def test_the_count_is_found(membership: str, file: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(membership)
    found = tmp_path / "fs" / file
    found.parent.mkdir(parents=True)
    found.write_text(content)
    assert counter_file(tmp_path / "cgroup", tmp_path / "fs") == found
    assert OomCounter(found).read() == 3


@pytest.mark.parametrize("membership", [None, "", "3:cpuset:/\n", V1_MEMBERSHIP])
def test_where_nobody_counts_there_is_no_file(membership: str | None, tmp_path: Path) -> None:
    if membership is not None:
        (tmp_path / "cgroup").write_text(membership)
    assert counter_file(tmp_path / "cgroup", tmp_path / "fs") is None


@pytest.mark.parametrize(
    "content", [None, "", "oom 1\n", "oom_kill x\n", "oom_kill", "oom_kill_disable 0\nunder_oom 0\n"]
)
def test_a_counter_that_cannot_be_read_tells_nothing(tmp_path: Path, content: str | None) -> None:
    events = tmp_path / "memory.events"
    if content is not None:
        events.write_text(content)
    assert OomCounter(events).read() is None
