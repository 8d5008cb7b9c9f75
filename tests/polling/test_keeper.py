"""What was acknowledged outlives the process, and no disk holds the event loop or costs a run."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agent.domain.earlier import Ending
from agent.domain.events import ClaimsKept
from agent.domain.invocation import InvocationKind, RunId
from agent.polling.claims_file import ClaimsFile, Kept, Mark
from agent.polling.keeper import Keeper
from tests.runs_api.rig import Facts, until

ROOM = 1 << 24


def kept(name: str, mark: Mark = Mark.ASKED, ending: Ending | None = None) -> Kept:
    return Kept(RunId(f"r_{name}"), InvocationKind.ACTION_RUN, mark, 1, "pod-1", ending, 1e9, f'"{name}"'.encode())


def left_in(directory: Path) -> list[Kept]:
    file = ClaimsFile.open_first_free(directory, ROOM)
    try:
        return file.read()
    finally:
        file.close()


def keeping(open_file: Callable[[], ClaimsFile], found: list[Kept], facts: Facts | None = None) -> Keeper:
    return Keeper(open_file, facts or Facts(), found.extend, try_again_s=0.02)


def opening(directory: Path) -> Callable[[], ClaimsFile]:
    return partial(ClaimsFile.open_first_free, directory, ROOM)


def test_what_is_kept_is_found_by_the_next_life_as_it_was(tmp_path: Path) -> None:
    async def go() -> None:
        found: list[Kept] = []
        keeper = keeping(opening(tmp_path), found)
        await keeper.tried(10)
        assert found == []
        assert all(await asyncio.gather(keeper.put(kept("a")), keeper.put(kept("b")), keeper.put(kept("c"))))
        assert await keeper.put(kept("b", Mark.ENDED, Ending.SUCCESS))
        keeper.drop(RunId("r_a"))
        keeper.drop(RunId("r_never"))
        await keeper.close(10)
        heir = keeping(opening(tmp_path), found)
        await heir.tried(10)
        await heir.close(10)
        await heir.close(10)
        assert found == [kept("b", Mark.ENDED, Ending.SUCCESS), kept("c")]

    asyncio.run(go())


def test_only_the_agents_own_user_can_read_it(tmp_path: Path) -> None:
    async def go() -> None:
        keeper = keeping(opening(tmp_path / "claims"), [])
        assert await keeper.put(kept("a"))
        files = [path for path in (tmp_path / "claims").iterdir() if path.is_file()]
        assert len(files) >= 3  # the lock, the database, what SQLite keeps beside it
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        await keeper.close(10)

    asyncio.run(go())


def test_a_disk_that_fails_costs_no_run_and_is_tried_again(tmp_path: Path) -> None:
    async def go() -> None:
        facts, found, works = Facts(), list[Kept](), False

        def open_file() -> ClaimsFile:
            if not works:
                raise OSError("the disk is gone")
            return ClaimsFile.open_first_free(tmp_path, ROOM)

        keeper = keeping(open_file, found, facts)
        await keeper.tried(10)
        assert not await asyncio.wait_for(keeper.put(kept("a")), 10)
        assert facts.of(ClaimsKept)[0].problem == "the disk is gone"
        works = True
        await until(lambda: facts.of(ClaimsKept)[-1].problem == "")
        await keeper.close(10)
        assert left_in(tmp_path) == [kept("a")]

    asyncio.run(go())


def test_a_file_that_cannot_be_written_is_said_and_its_runs_are_written_later(tmp_path: Path) -> None:
    class Failing(ClaimsFile):
        fails = True

        def write(self, puts: object, drops: object) -> None:
            if self.fails:
                raise sqlite3.OperationalError("database or disk is full")
            super().write(puts, drops)  # type: ignore[arg-type]  # as they came

    async def go() -> None:
        facts = Facts()
        keeper = keeping(partial(Failing.open_first_free, tmp_path, ROOM), [], facts)
        assert not await asyncio.wait_for(keeper.put(kept("a")), 10)
        assert facts.of(ClaimsKept)[-1].problem == "database or disk is full"
        Failing.fails = False
        await until(lambda: facts.of(ClaimsKept)[-1].problem == "")
        await keeper.close(10)
        assert left_in(tmp_path) == [kept("a")]

    asyncio.run(go())


def test_what_this_life_has_said_more_of_is_not_found(tmp_path: Path) -> None:
    file = ClaimsFile.open_first_free(tmp_path, ROOM)
    file.write([kept("a"), kept("b")], ())
    file.close()

    async def go() -> None:
        found: list[Kept] = []
        tries = iter([OSError("not yet"), None])

        def open_file() -> ClaimsFile:
            if (error := next(tries)) is not None:
                raise error
            return ClaimsFile.open_first_free(tmp_path, ROOM)

        keeper = keeping(open_file, found)
        await keeper.tried(10)
        keeper.drop(RunId("r_a"))
        await until(lambda: bool(found))
        await keeper.close(10)
        assert found == [kept("b")]
        assert left_in(tmp_path) == [kept("b")]

    asyncio.run(go())


def test_agents_that_share_a_directory_have_a_file_each_and_inherit(tmp_path: Path) -> None:
    living = ClaimsFile.open_first_free(tmp_path, ROOM)
    living.write([kept("of the living")], ())
    gone = ClaimsFile.open_first_free(tmp_path, ROOM)
    gone.write([kept("of the dead")], ())
    gone.close()
    heir = ClaimsFile.open_first_free(tmp_path, ROOM)
    assert [one.run_id for one in heir.read()] == ["r_of the dead"]
    assert [one.run_id for one in living.read()] == ["r_of the living"]
    living.close()
    heir.close()
    last = ClaimsFile.open_first_free(tmp_path, ROOM)
    assert sorted(one.run_id for one in last.read()) == ["r_of the dead", "r_of the living"]
    last.close()


def test_what_another_version_has_written_is_left_where_it_is(tmp_path: Path) -> None:
    file = ClaimsFile.open_first_free(tmp_path, ROOM)
    file.write([kept("a"), kept("b")], ())
    path = file.path
    file.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE claims SET mark = 'of the future' WHERE run_id = 'r_a'")
    connection.close()
    assert [one.run_id for one in left_in(tmp_path)] == ["r_b"]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM claims").fetchone() == (2,)
    connection.close()


def test_it_outlives_a_kill_9(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, signal
from pathlib import Path
from tests.polling.test_keeper import keeping, kept, opening
async def go():
    keeper = keeping(opening(Path({str(tmp_path)!r})), [])
    assert await keeper.put(kept("a"))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(go())
"""
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -9
    assert left_in(tmp_path) == [kept("a")]
