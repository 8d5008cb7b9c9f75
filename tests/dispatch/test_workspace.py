from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.dispatch.workspace import Workspace, remove_tree
from agent.ports import OUTPUT_FILE, WORK_DIRECTORY


def _filled(parent: Path) -> Workspace:
    workspace = Workspace(parent)
    locked = workspace.path / "locked"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0o500)
    return workspace


def test_it_goes_although_actions_hold_every_thread_of_the_default_executor(tmp_path: Path) -> None:
    async def scene() -> None:
        release = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, release.wait)
        try:
            await asyncio.wait_for(_filled(tmp_path).remove(), 20)
        finally:
            release.set()
            await blocked

    asyncio.run(scene())
    assert list(tmp_path.iterdir()) == []


def test_it_is_private_and_so_is_the_place_where_it_is_made(tmp_path: Path) -> None:
    parent = tmp_path / "of all runs" / "of this agent"
    one, other = Workspace(parent), Workspace(parent)
    assert one.path == one.path != other.path
    assert {path.stat().st_mode & 0o777 for path in (one.path, other.path, parent)} == {0o700}


def test_its_path_holds_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(Path("workspaces"))
    monkeypatch.chdir("/")
    assert workspace.path.parent == tmp_path / "workspaces"
    asyncio.run(workspace.remove())
    assert list((tmp_path / "workspaces").iterdir()) == []


def test_after_its_removal_none_is_made(tmp_path: Path) -> None:
    asked, unasked = Workspace(tmp_path), Workspace(tmp_path)
    assert asked.path.is_dir()
    for workspace in (asked, unasked):
        asyncio.run(workspace.remove())
        with pytest.raises(OSError, match="the run is over"):
            _ = workspace.path
        asyncio.run(workspace.remove())
    assert list(tmp_path.iterdir()) == []


def test_one_that_comes_after_the_removal_goes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, comes, goes_on = Path.mkdir, threading.Event(), threading.Event()

    def slow_disk(path: Path, mode: int = 0o777) -> None:
        comes.set()
        assert goes_on.wait(20)
        mkdir(path, mode)

    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(1) as threads:
        monkeypatch.setattr(Path, "mkdir", slow_disk)
        asked = threads.submit(lambda: workspace.path)
        assert comes.wait(20)
        asyncio.run(workspace.remove())  # waits for no disk
        goes_on.set()
        with pytest.raises(OSError, match="the run is over"):
            asked.result(20)
    assert list(tmp_path.iterdir()) == []


def test_threads_that_ask_at_once_get_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, all_there = Path.mkdir, threading.Barrier(4)

    def slow_disk(path: Path, mode: int = 0o777) -> None:
        all_there.wait(20)
        mkdir(path, mode)

    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        monkeypatch.setattr(Path, "mkdir", slow_disk)
        asked = [threads.submit(lambda: workspace.path) for _ in range(4)]
        paths = {one.result(20) for one in asked}
    assert paths == {workspace.path} == set(tmp_path.iterdir())


@pytest.mark.parametrize("is_flat", [True, False])
def test_what_its_links_lead_to_stays(tmp_path: Path, *, is_flat: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    workspace = Workspace(tmp_path / "workspaces")
    (workspace.path / "to a directory").symlink_to(outside)
    (workspace.path / "to a file").symlink_to(outside / "file")
    (workspace.path / "directory").mkdir()
    if not is_flat:
        (workspace.path / "directory" / "file").touch()
        (workspace.path / "directory" / "link").symlink_to(outside)
    asyncio.run(workspace.remove())
    assert list((tmp_path / "workspaces").iterdir()) == []
    assert (outside / "file").exists()


def test_it_goes_although_the_system_has_no_thread_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> None:
        workspace = _filled(tmp_path)
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        await workspace.remove()
        monkeypatch.undo()

    asyncio.run(scene())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [None, "beside", "work/file", "no output"])
def test_what_a_command_is_given_goes_by_its_names_and_all_else_with_it(
    left: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def look(path: Path) -> None:
        looked.append(path)
        remove_tree(path)

    monkeypatch.setattr("agent.dispatch.workspace.remove_tree", look)
    workspace = Workspace(tmp_path)
    path = workspace.path
    (path / WORK_DIRECTORY).mkdir()
    (path / OUTPUT_FILE).touch()
    if left == "no output":
        (path / OUTPUT_FILE).unlink()
    elif left is not None:
        (path / left).touch()
    asyncio.run(workspace.remove())
    assert list(tmp_path.iterdir()) == []
    assert looked == ([] if left is None else [path])
