"""Outcomes outlive the process; a disk that fails costs that alone. Real SQLite, real files, a real SIGKILL."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agent.domain.events import Event, JournalStood
from agent.domain.invocation import InvocationKind, RunId
from agent.ports import Subject
from agent.runs_api.journal import Journal
from agent.runs_api.journal_file import Entry, JournalFile
from agent.runs_api.wire import Request
from tests.broker.waiting import wait_until

MANY_BYTES = 16 * 1024 * 1024


def entry(name: str, size_bytes: int = 0, origin: str = "runs[0]@1") -> Entry:
    subject = Subject(RunId(f"r_{name}"), InvocationKind.ACTION_RUN, origin, "route")
    body = {"status": "SUCCESS", "summary": f"näme {name} \ud800" + "x" * size_bytes}
    return Entry(subject, (Request("PATCH", "/v1/{id}", f"/v1/{name}", body), Request("PATCH", "/v1", "/v1", {})))


class Heard:
    """What observers hear, from whichever thread."""

    def __init__(self) -> None:
        self.facts: list[JournalStood] = []

    def notify(self, event: Event) -> None:
        assert isinstance(event, JournalStood)
        self.facts.append(event)

    def until(self, condition: Callable[[JournalStood], object]) -> None:
        wait_until(
            lambda: self.facts and condition(self.facts[-1]),
            timeout_s=20,
            what=lambda: f"{self.facts}",
            pause_s=0.01,
        )


@contextmanager
def journal_in(directory: Path, heard: Heard | None = None, max_bytes: int = MANY_BYTES) -> Iterator[Journal]:
    journal = Journal(
        partial(JournalFile.open_first_free, directory, max_bytes), heard or Heard(), try_again_s=0.02
    )
    try:
        yield journal
    finally:
        journal.close(20)
        journal.close(20)


def left_in(directory: Path) -> list[Entry]:
    with journal_in(directory) as journal:
        return sorted(journal.take_left_over(), key=lambda one: one.key)


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────


def test_an_outcome_that_nobody_dropped_is_left_over(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        assert journal.take_left_over() == ()
        for name in "abc":
            journal.keep(entry(name))
        journal.drop(entry("b").key)
        journal.drop(entry("unknown").key)
    assert left_in(tmp_path) == [entry("a"), entry("c")]


def test_several_messages_of_one_run_are_several_outcomes(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.keep(entry("a", origin="runs[0]@1"))
        journal.keep(entry("a", origin="runs[0]@2"))
        journal.drop(entry("a", origin="runs[0]@1").key)
    assert left_in(tmp_path) == [entry("a", origin="runs[0]@2")]


def test_what_was_left_over_is_dropped_like_any_other(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.keep(entry("a"))
    with journal_in(tmp_path) as journal:
        journal.drop(entry("a").key)
    assert left_in(tmp_path) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30))
def test_what_is_left_is_what_was_kept_last(steps: list[tuple[str, bool]]) -> None:
    kept: set[str] = set()
    memory = MemoryFile()
    journal = Journal(lambda: memory, Heard())
    for name, is_kept in steps:
        if is_kept:
            journal.keep(entry(name))
            kept.add(name)
        else:
            journal.drop(entry(name).key)
            kept.discard(name)
    journal.close(20)
    assert {e.key for e in memory.entries.values()} == {entry(name).key for name in kept}


class MemoryFile(JournalFile):
    """A file without a disk, for many tries."""

    def __init__(self) -> None:
        self.entries: dict[object, Entry] = {}
        self.note = ""

    def write(self, puts: object, drops: object) -> None:
        assert isinstance(puts, list)
        assert isinstance(drops, list)
        for key in drops:
            del self.entries[key]  # what is not there must not be asked for
        for one in puts:
            self.entries[one.key] = one

    def read(self) -> list[Entry]:
        return []

    def close(self) -> None:
        return


def test_an_outcome_outlives_a_kill_9(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _KEEPS_AND_WAITS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with closing(child.stdout):
        assert child.stdout.readline() == "kept\n"
        child.send_signal(signal.SIGKILL)
        child.wait(20)
    assert [one.key for one in left_in(tmp_path)] == [("r_killed", "runs[0]@7")]


_KEEPS_AND_WAITS = """\
import sqlite3, sys, time
from functools import partial
from pathlib import Path
from agent.domain.invocation import InvocationKind, RunId
from agent.ports import Subject
from agent.runs_api.journal import Journal
from agent.runs_api.journal_file import Entry, JournalFile

class Silent:
    def notify(self, event): pass

opened = []
def open_file():
    opened.append(JournalFile.open_first_free(Path(sys.argv[1]), 1 << 24))
    return opened[0]

journal = Journal(open_file, Silent())
journal.keep(Entry(Subject(RunId("r_killed"), InvocationKind.ACTION_RUN, "runs[0]@7", "route"), ()))
reader = sqlite3.connect(opened[0].path)
while not reader.execute("SELECT count(*) FROM outcomes").fetchone()[0]:
    time.sleep(0.01)
print("kept", flush=True)
time.sleep(60)
"""


def test_nobody_waits_for_the_disk(tmp_path: Path) -> None:
    gate = threading.Event()
    file = JournalFile.open_first_free(tmp_path, MANY_BYTES)
    write = file.write

    def slow(puts: list[Entry], drops: list[object]) -> None:
        assert gate.wait(20)
        write(puts, drops)  # type: ignore[arg-type]  # as they came

    file.write = slow  # type: ignore[method-assign, assignment]  # a disk that takes its time
    journal = Journal(lambda: file, Heard())
    begun_s = time.monotonic()
    for number in range(1_000):
        journal.keep(entry(str(number)))
        journal.drop(entry(str(number // 2)).key)
    assert time.monotonic() - begun_s < 10  # it never came to an end, had it waited
    gate.set()
    journal.close(20)
    assert len(left_in(tmp_path)) == 500


def test_what_port_has_within_moments_is_never_written(tmp_path: Path) -> None:
    gate, written = threading.Event(), list[str]()
    file = JournalFile.open_first_free(tmp_path, MANY_BYTES)
    write = file.write

    def noted(puts: list[Entry], drops: list[object]) -> None:
        written.extend(str(put.subject.run_id) for put in puts)
        assert not drops
        write(puts, drops)  # type: ignore[arg-type]  # as they came

    file.write = noted  # type: ignore[method-assign, assignment]  # looks on
    journal = Journal(lambda: file, Heard(), wait=lambda _s: gate.wait(20))
    for name in ("told", "untold"):
        journal.keep(entry(name))
    journal.drop(entry("told").key)
    gate.set()
    journal.close(20)
    assert written == ["r_untold"]


def test_one_that_is_closed_writes_at_once_what_is_left(tmp_path: Path) -> None:
    begun, gate, waits = threading.Event(), threading.Event(), list[float]()
    file = JournalFile.open_first_free(tmp_path, MANY_BYTES)
    write = file.write

    def slow(puts: list[Entry], drops: list[object]) -> None:
        begun.set()
        assert gate.wait(20)
        write(puts, drops)  # type: ignore[arg-type]  # as they came

    file.write = slow  # type: ignore[method-assign, assignment]  # a disk that takes its time
    journal = Journal(lambda: file, Heard(), wait=waits.append)
    journal.keep(entry("a"))
    assert begun.wait(20)
    journal.keep(entry("b"))
    journal.close(0)
    gate.set()
    journal.close(20)
    assert len(waits) == 1  # for others to join the first
    assert left_in(tmp_path) == [entry("a"), entry("b")]


# ── a disk that fails ────────────────────────────────────────────────────────────────────────────────


def test_a_full_disk_is_told_and_tried_again_until_there_is_room(tmp_path: Path) -> None:
    heard = Heard()
    with journal_in(tmp_path, heard, max_bytes=128 * 1024) as journal:
        journal.keep(entry("small"))
        journal.keep(entry("large", 200 * 1024))
        heard.until(lambda fact: "full" in fact.problem and fact.pending == 2)
        journal.drop(entry("large").key)
        heard.until(lambda fact: not fact.problem and fact.pending == 1)
    assert {one.key for one in left_in(tmp_path)} == {entry("small").key}


def test_a_directory_that_cannot_be_is_told_and_used_as_soon_as_it_can(tmp_path: Path) -> None:
    heard, place = Heard(), tmp_path / "state"
    place.write_text("in the way")
    with journal_in(place / "outcomes", heard) as journal:
        assert journal.take_left_over() == ()
        journal.keep(entry("a"))
        heard.until(lambda fact: fact.problem and fact.pending == 1)
        place.unlink()
        heard.until(lambda fact: not fact.problem)
    assert {one.key for one in left_in(place / "outcomes")} == {entry("a").key}


class Opening:
    """Opens the journal in a directory, but for as often as it is to fail."""

    def __init__(self, directory: Path, *failures: Exception) -> None:
        self._directory = directory
        self._failures = list(failures)

    def __call__(self) -> JournalFile:
        if self._failures:
            raise self._failures.pop(0)
        return JournalFile.open_first_free(self._directory, MANY_BYTES)


def test_what_was_left_over_is_found_as_soon_as_the_disk_can_be_read(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        for name in "abc":
            journal.keep(entry(name))
    heard = Heard()
    journal = Journal(Opening(tmp_path, OSError("full"), OSError("full")), heard, try_again_s=0.05)
    try:
        assert journal.take_left_over() == ()
        journal.keep(entry("b"))  # its message has come again, and it is for this life to tell of it
        heard.until(lambda fact: not fact.problem and fact.pending == 3)
        assert {one.key for one in journal.take_left_over()} == {entry("a").key, entry("c").key}
        assert journal.take_left_over() == ()
        journal.drop(entry("a").key)
    finally:
        journal.close(20)
    assert left_in(tmp_path) == [entry("b"), entry("c")]


def test_a_file_that_opens_and_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    class Unreadable(MemoryFile):
        is_closed = False

        def read(self) -> list[Entry]:
            raise sqlite3.OperationalError("disk I/O error")

        def close(self) -> None:
            self.is_closed = True

    with journal_in(tmp_path) as journal:
        journal.keep(entry("a"))
    heard, unreadable = Heard(), Unreadable()
    files = iter([unreadable, JournalFile.open_first_free(tmp_path, MANY_BYTES)])
    journal = Journal(lambda: next(files), heard, try_again_s=0.02)
    try:
        heard.until(lambda fact: not fact.problem and fact.pending == 1)
        assert heard.facts[0].problem == "disk I/O error"
        assert unreadable.is_closed
        assert journal.take_left_over() == (entry("a"),)
    finally:
        journal.close(20)


def test_a_defect_is_told_with_one_traceback_and_the_journal_goes_on(tmp_path: Path) -> None:
    heard = Heard()
    with capture_logs() as lines:
        journal = Journal(Opening(tmp_path, ValueError("a"), KeyError("b")), heard, try_again_s=0.02)
        journal.keep(entry("a"))
        heard.until(lambda fact: not fact.problem and fact.pending == 1)
        journal.close(20)
    assert {fact.problem for fact in heard.facts} == {"ValueError: a", "KeyError: 'b'", ""}
    [line] = lines
    assert isinstance(line["exc_info"], ValueError)
    assert left_in(tmp_path) == [entry("a")]


def test_a_damaged_file_is_put_aside_and_told(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.keep(entry("a"))
    [file] = tmp_path.glob("*.sqlite3")
    damaged = b"SQLite format 3\0" + b"\xff" * 8_000
    file.write_bytes(damaged)
    heard = Heard()
    with journal_in(tmp_path, heard) as journal:
        assert journal.take_left_over() == ()
        assert "damaged" in heard.facts[0].note
        journal.keep(entry("b"))
    assert {one.key for one in left_in(tmp_path)} == {entry("b").key}
    assert file.with_suffix(".broken").read_bytes() == damaged


def test_an_entry_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.keep(entry("a"))
    [file] = tmp_path.glob("*.sqlite3")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("INSERT INTO outcomes VALUES ('r_x', '', 'action_run', '', '[{}]')")
        connection.execute("INSERT INTO outcomes VALUES ('r_y', '', 'of another version', '', '[]')")
        connection.commit()
    assert {one.key for one in left_in(tmp_path)} == {entry("a").key}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM outcomes").fetchone() == (3,)


def test_it_is_nobody_elses_to_read(tmp_path: Path) -> None:
    with journal_in(tmp_path / "outcomes") as journal:
        journal.keep(entry("a"))
    assert (tmp_path / "outcomes").stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "outcomes").iterdir())


def test_the_file_shrinks_again(tmp_path: Path) -> None:
    heard = Heard()
    with journal_in(tmp_path, heard) as journal:
        for number in range(20):
            journal.keep(entry(str(number), 100 * 1024))
        heard.until(lambda fact: fact.pending == 20)
        for number in range(20):
            journal.drop(entry(str(number)).key)
        heard.until(lambda fact: fact.pending == 0)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 200 * 1024


# ── several agents in one directory ──────────────────────────────────────────────────────────────────


def test_agents_that_share_a_directory_do_not_share_outcomes(tmp_path: Path) -> None:
    with journal_in(tmp_path) as first, journal_in(tmp_path) as second:
        first.keep(entry("first"))
        second.keep(entry("second"))
    assert len(list(tmp_path.glob("*.sqlite3"))) == 2


def test_whoever_starts_takes_over_what_agents_have_left_that_are_gone(tmp_path: Path) -> None:
    with journal_in(tmp_path) as living:
        living.keep(entry("of the living"))
        with journal_in(tmp_path) as second, journal_in(tmp_path) as third:
            second.keep(entry("second"))
            third.keep(entry("third"))
        with journal_in(tmp_path) as heir:
            assert {one.key for one in heir.take_left_over()} == {entry("second").key, entry("third").key}
            heir.drop(entry("second").key)
        with journal_in(tmp_path) as heir:
            assert {one.key for one in heir.take_left_over()} == {entry("third").key}


def test_more_agents_than_there_are_files_for_go_on_in_memory(tmp_path: Path) -> None:
    files: list[JournalFile] = []
    try:
        for _ in range(32):
            files.append(JournalFile.open_first_free(tmp_path, MANY_BYTES))  # noqa: PERF401 - closed below, whatever happens
        heard = Heard()
        with journal_in(tmp_path, heard):
            assert "belong to other agents" in heard.facts[0].problem
    finally:
        for file in files:
            file.close()


def test_files_that_may_not_be_used_are_passed_over_and_nothing_stays_locked(tmp_path: Path) -> None:
    """As those of another user are."""
    (tmp_path / "outcomes-v1-0.lock").mkdir()
    (tmp_path / "outcomes-v1-1.sqlite3").mkdir()
    (tmp_path / "outcomes-v1-3.lock").mkdir()
    (tmp_path / "outcomes-v1-3.sqlite3").touch()
    for _ in range(2):
        with closing(JournalFile.open_first_free(tmp_path, MANY_BYTES)) as file:
            assert file.path.name == "outcomes-v1-2.sqlite3"
            assert "outcomes-v1-3.sqlite3 may hold was not taken over: [Errno" in file.note


def test_what_lies_beyond_a_file_that_may_not_be_used_is_taken_over(tmp_path: Path) -> None:
    with journal_in(tmp_path), journal_in(tmp_path) as second:
        second.keep(entry("second"))
    (tmp_path / "outcomes-v1-0.lock").unlink()
    (tmp_path / "outcomes-v1-0.lock").mkdir()
    assert left_in(tmp_path) == [entry("second")]


def test_why_no_file_can_be_used_is_said(tmp_path: Path) -> None:
    for slot in range(32):
        (tmp_path / f"outcomes-v1-{slot}.lock").mkdir()
    heard = Heard()
    with journal_in(tmp_path, heard):
        assert f"{tmp_path}/outcomes-v1-0.sqlite3: [Errno" in heard.facts[0].problem


def test_another_agents_file_that_is_damaged_is_put_aside_and_told(tmp_path: Path) -> None:
    with journal_in(tmp_path), journal_in(tmp_path):
        pass
    other = tmp_path / "outcomes-v1-1.sqlite3"
    other.write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)
    heard = Heard()
    with journal_in(tmp_path, heard):
        assert f"{other} was damaged" in heard.facts[0].note
    assert other.with_suffix(".broken").exists()
