"""The quarantine file: what is in it, how large it gets, and what happens where it cannot be written."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain import events as ev
from agent.observability.quarantine import LEAST_BYTES, QuarantineFile
from tests.observability.helpers import Heard, HeldClock


class Kept:
    """A quarantine in ``home``, closed by `read`."""

    def __init__(self, home: Path, max_bytes: int = 1024 * 1024) -> None:
        self.path = home / "state" / "quarantine.jsonl"
        self.heard = Heard()
        self.file = QuarantineFile(self.path, max_bytes, self.heard, HeldClock())

    def keep(self, body: bytes, origin: str = "runs[0]@7", reason: str = "undecodable") -> None:
        self.file.keep(body, origin, reason, "the message is not JSON")

    def read(self) -> list[dict[str, Any]]:
        """What is in it in the end, the older generation first."""
        self.file.close()
        older = self.path.with_name("quarantine.jsonl.1")
        texts = [path.read_text() for path in (older, self.path) if path.exists()]
        return [json.loads(line) for line in "".join(texts).splitlines()]


def test_a_line_tells_all_of_a_message(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep(b"\x00\xff{")
    assert kept.read() == [
        {
            "at": "2027-01-15T08:00:00.000+00:00",
            "origin": "runs[0]@7",
            "reason": "undecodable",
            "detail": "the message is not JSON",
            "size": 3,
            "body": base64.b64encode(b"\x00\xff{").decode(),
        }
    ]
    assert kept.heard.events == [ev.MessageKept("undecodable", str(kept.path))]


def test_it_is_for_the_agents_user_alone(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.path.parent.mkdir()
    kept.path.write_text("")
    kept.path.chmod(0o644)
    kept.keep(b"x")
    kept.read()
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_nothing_is_written_before_the_first_message(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.file.close()
    assert not kept.path.parent.exists()


def test_of_a_large_message_the_beginning_is_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep(b"0123456789" * 1_000_000)
    [line] = kept.read()
    assert line["size"] == 10_000_000
    assert base64.b64decode(line["body"]) == (b"0123456789" * 10_000)[: 64 * 1024]


@settings(deadline=None)
@given(st.integers(LEAST_BYTES, 400_000), st.lists(st.integers(0, 100_000), min_size=1, max_size=60))
def test_both_generations_together_stay_within_the_bound(
    tmp_path_factory: pytest.TempPathFactory, max_bytes: int, sizes: list[int]
) -> None:
    kept = Kept(tmp_path_factory.mktemp("bounded"), max_bytes)
    for index, size in enumerate(sizes):
        kept.keep(b"x" * size, origin=str(index))
    lines = kept.read()
    assert sum(path.stat().st_size for path in kept.path.parent.iterdir()) <= max_bytes
    told = [e for e in kept.heard.events if isinstance(e, ev.MessageKept)]
    assert len(told) == len(sizes)
    assert [int(line["origin"]) for line in lines] == list(range(len(sizes)))[-len(lines) :], "the newest are kept"


def test_what_is_there_already_is_appended_to(tmp_path: Path) -> None:
    for origin in ("first", "second"):
        kept = Kept(tmp_path)
        kept.keep(b"x", origin)
        lines = kept.read()
    assert [line["origin"] for line in lines] == ["first", "second"]


def test_a_place_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.path.parent.write_text("a file where the directory should be")
    kept.keep(b"x")
    kept.file.close()
    [event] = kept.heard.events
    assert isinstance(event, ev.MessageNotKept)
    assert event.code in {"EEXIST", "ENOTDIR"}
    assert str(kept.path) in event.detail
    kept.path.parent.unlink()
    again = Kept(tmp_path)
    again.keep(b"y")
    assert len(again.read()) == 1


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """The default directory lies where every user of the machine can write."""
    kept = Kept(tmp_path)
    kept.path.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    kept.path.symlink_to(elsewhere)
    kept.keep(b"x")
    kept.file.close()
    assert [e.code for e in kept.heard.events if isinstance(e, ev.MessageNotKept)] == ["ELOOP"]
    assert elsewhere.read_text() == "precious"


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.path.parent.mkdir()
    os.mkfifo(kept.path)
    kept.keep(b"x")
    kept.file.close()
    assert [e.code for e in kept.heard.events if isinstance(e, ev.MessageNotKept)] == ["EINVAL"]


def test_a_full_disk_leaves_whole_lines_only_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(tmp_path)
    write = os.write

    def cut_short(file: int, data: bytes) -> int:
        return write(file, data[: len(data) // 2] if b"second" in data else data)

    monkeypatch.setattr(os, "write", cut_short)
    for origin in ("first", "second", "third"):
        kept.keep(b"x", origin)
    lines = kept.read()
    assert [line["origin"] for line in lines] == ["first", "third"]
    assert [e.code for e in kept.heard.events if isinstance(e, ev.MessageNotKept)] == ["ENOSPC"]


def test_a_disk_that_hangs_holds_nobody_up_and_what_is_not_kept_is_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    gate = threading.Event()
    append = kept.file._append

    def hang(line: bytes) -> None:
        assert gate.wait(30)
        append(line)

    kept.file._append = hang  # type: ignore[method-assign]
    for index in range(250):
        kept.keep(b"x", str(index))
    lost = [e for e in kept.heard.events if isinstance(e, ev.MessageNotKept)]
    assert {e.code for e in lost} == {"overrun"}
    assert len(lost) in {149, 150}
    gate.set()
    assert len(kept.read()) == 250 - len(lost)
