from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agent.executors.proc_file import KernelFile, read_file
from tests.broker.waiting import wait_until


@pytest.mark.parametrize("name", ["/proc/filesystems", "/proc/self/mountinfo", "/proc/self/limits"])
def test_all_of_a_file_of_the_kernel_is_read_each_time(name: str) -> None:
    file, content = KernelFile(name), Path(name).read_bytes()
    assert file.read() == file.read() == read_file(name) == content


def test_one_of_many_pages_is_read_to_its_end() -> None:
    child = subprocess.Popen(["/bin/sleep", "99"], env={"LONG": "x" * 100_000})
    try:
        name = f"/proc/{child.pid}/environ"
        wait_until(Path(name).read_bytes, timeout_s=30, what="the program")
        file = KernelFile(name)
        assert file.read() == file.read() == read_file(name) == b"LONG=" + b"x" * 100_000 + b"\0"
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("size_bytes", [0, 1, 2047, 2048, 4096, 16384, 100_000])
def test_no_size_is_cut(size_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content := os.urandom(size_bytes))
    assert KernelFile(str(path)).read() == read_file(str(path)) == content


def test_what_has_changed_is_seen() -> None:
    file = KernelFile(f"/proc/self/task/{os.getpid()}/children")
    child = subprocess.Popen(["/bin/sleep", "99"])
    try:
        assert str(child.pid) in file.read().decode().split()
    finally:
        child.kill()
        child.wait()
    assert str(child.pid) not in file.read().decode().split()


def test_it_is_closed_with_its_last_user(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    file = KernelFile(str(path))
    assert _open_files().count(str(path)) == 1
    del file
    assert str(path) not in _open_files()


def _open_files() -> list[str]:
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for reads in (read_file, KernelFile):
        with pytest.raises(FileNotFoundError):
            reads(str(tmp_path / "nothing"))
