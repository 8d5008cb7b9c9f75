"""The file changes under the running agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.events import Event, RoutesReloaded
from agent.domain.route import Unrouted
from agent.ports import Routed
from agent.routing import reload
from agent.routing.file import RoutesReader
from agent.routing.reload import LiveRoutes
from tests.routing.helpers import FakeExecutors, Notes, invocation


def routes(*actions: str) -> str:
    lines = [f"  - {{name: {a}-route, match: {{action: {a}}}, http: {{}}}}\n" for a in actions]
    return "routes:\n" + "".join(lines)


BROKEN = "routes:\n  - {name: a, match: {action: x}}\n"
BROKEN_TOLD = "{}:2: routes[0]: names no executor; one of http, process is expected"


@pytest.fixture
def reader() -> Iterator[RoutesReader]:
    reader = RoutesReader(FakeExecutors(), {})
    yield reader
    reader.close()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(routes("a"))
    return path


@pytest.fixture
def live(path: Path, reader: RoutesReader, notes: Notes) -> LiveRoutes:
    return LiveRoutes(path, reader, notes)


def chosen(live: LiveRoutes, action: str) -> str | None:
    found = live.resolve(invocation(action))
    return found.route.name if isinstance(found, Routed) else None


def test_nothing_happens_while_nothing_changes(live: LiveRoutes, notes: Notes) -> None:
    before = live.current
    assert [live.refresh() for _ in range(4)] == [False] * 4
    assert live.current is before
    assert notes.events == []


def test_a_changed_file_comes_into_force(live: LiveRoutes, path: Path, notes: Notes) -> None:
    old = live.resolve(invocation("a"))
    path.write_text(routes("b", "c"))
    assert live.refresh() is True
    assert (chosen(live, "a"), chosen(live, "b")) == (None, "b-route")
    assert [v.route for v in live.explain(invocation("c"))] == ["b-route", "c-route"]
    assert isinstance(old, Routed)
    assert old.route.name == "a-route"
    assert live.refresh() is False
    assert notes.events == [RoutesReloaded(ok=True, routes=2)]


def test_a_broken_file_is_refused_and_told_once(live: LiveRoutes, path: Path, notes: Notes) -> None:
    path.write_text(BROKEN)
    assert [live.refresh() for _ in range(3)] == [False] * 3
    path.touch()
    assert live.refresh() is False
    assert chosen(live, "a") == "a-route"
    told = RoutesReloaded(ok=False, routes=1, problems=(BROKEN_TOLD.format(path),))
    assert notes.events == [told]
    path.write_text(BROKEN + "# still\n")
    assert live.refresh() is False
    assert notes.events == [told, told]


@pytest.mark.parametrize("hint", ["", "did you mean 'deploy'?"])
def test_a_callable_that_is_missing_may_have_been_written_after_its_module_was_read(
    path: Path, notes: Notes, hint: str
) -> None:
    problem = Problem("routes", "my_actions has no 'create'", "routes[0].python.callable", hint)
    executors = FakeExecutors(names=("http", "python"))
    reader = RoutesReader(executors, {})
    try:
        live = LiveRoutes(path, reader, notes)
        executors.failure = ConfigurationError(problem)
        path.write_text("routes: [{name: b, match: {action: b}, python: {}}]")
        assert live.refresh() is False
    finally:
        reader.close()
    [event] = notes.events
    assert isinstance(event, RoutesReloaded)
    advice = "Python modules are read once; restart the agent to read them anew"
    [told] = event.problems
    assert told.endswith(f"({hint}; {advice})" if hint else f"({advice})")


def test_after_a_broken_file_the_old_one_counts_as_a_change(live: LiveRoutes, path: Path, notes: Notes) -> None:
    path.write_text(BROKEN)
    assert live.refresh() is False
    path.write_text(routes("a"))
    assert live.refresh() is True
    assert [event.ok for event in notes.events if isinstance(event, RoutesReloaded)] == [False, True]


def test_a_file_that_vanishes_is_broken_and_may_come_back(live: LiveRoutes, path: Path, notes: Notes) -> None:
    path.unlink()
    assert [live.refresh() for _ in range(3)] == [False] * 3
    assert chosen(live, "a") == "a-route"
    path.write_text(routes("b"))
    assert live.refresh() is True
    assert notes.events == [
        RoutesReloaded(
            ok=False,
            routes=1,
            problems=(f"{path}: there is no such file (check AGENT_ROUTES_PATH and what is mounted)",),
        ),
        RoutesReloaded(ok=True, routes=1),
    ]


def test_a_change_is_seen_though_size_and_modification_time_are_the_same(live: LiveRoutes, path: Path) -> None:
    assert [live.refresh() for _ in range(3)] == [False] * 3
    stat = path.stat()
    path.write_text(routes("b"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert live.refresh() is True
    assert chosen(live, "b") == "b-route"


def test_two_changes_in_one_tick_of_the_clock_are_both_seen(live: LiveRoutes, path: Path) -> None:
    for action in "bcdefg":
        path.write_text(routes(action))
        assert live.refresh() is True
        assert chosen(live, action) == f"{action}-route"


def test_an_untouched_file_is_not_read_again(live: LiveRoutes, monkeypatch: pytest.MonkeyPatch) -> None:
    live.refresh()
    live.refresh()

    def unreadable(path: Path) -> bytes:
        raise AssertionError(path)

    monkeypatch.setattr(reload, "read_file", unreadable)
    assert live.refresh() is False


def test_a_mounted_config_map_swaps_a_link_to_a_directory(
    tmp_path: Path, reader: RoutesReader, notes: Notes
) -> None:
    def version(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "routes.yaml").write_text(text)
        fresh = tmp_path / "..data_tmp"
        fresh.symlink_to(name)
        fresh.rename(tmp_path / "..data")

    version("..2026_1", routes("a"))
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")
    live = LiveRoutes(tmp_path / "routes.yaml", reader, notes)
    assert live.refresh() is False
    version("..2026_2", routes("a"))
    assert live.refresh() is False
    version("..2026_3", routes("b"))
    assert live.refresh() is True
    assert chosen(live, "b") == "b-route"
    (tmp_path / "..data").unlink()
    assert live.refresh() is False
    version("..2026_4", routes("c"))
    assert live.refresh() is True
    assert [event.ok for event in notes.events if isinstance(event, RoutesReloaded)] == [True, False, True]


def test_a_file_that_is_broken_at_the_start_is_an_error(tmp_path: Path, reader: RoutesReader, notes: Notes) -> None:
    path = tmp_path / "routes.yaml"
    for text in (None, BROKEN, "a: [", ""):
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"routes\.yaml"):
            LiveRoutes(path, reader, notes)
    assert notes.events == []


def test_it_can_watch_by_itself(path: Path, reader: RoutesReader) -> None:
    class Swapped:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        def notify(self, event: Event) -> None:
            assert isinstance(event, RoutesReloaded)
            self.event.set()

    async def main() -> None:
        swapped = Swapped()
        live = LiveRoutes(path, reader, swapped)
        await asyncio.to_thread(path.write_text, routes("z"))
        watch = asyncio.create_task(live.watch(0.005))
        async with asyncio.timeout(30):
            await swapped.event.wait()
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        assert chosen(live, "z") == "z-route"

    asyncio.run(main())


def test_a_condition_that_runs_out_of_time_is_logged_and_no_later_route_asked(path: Path, notes: Notes) -> None:
    path.write_text(
        "routes:\n"
        "  - {name: slow, match: {action: a, when: '[repeat(1)] | length > 1'}, http: {}}\n"
        "  - {name: catch-all, match: {action: '*'}, http: {}}\n"
    )
    reader = RoutesReader(FakeExecutors(), {}, jq_timeout_s=0.2)
    try:
        live = LiveRoutes(path, reader, notes)
        with capture_logs() as lines:
            found = live.resolve(invocation("a"))
            assert chosen(live, "b") == "catch-all"
    finally:
        reader.close()
    assert isinstance(found, Unrouted)
    assert (found.nearest, found.undecided) == ("slow", True)
    assert [(line["log_level"], line["run_id"], line["reason"]) for line in lines] == [
        ("warning", "r_1", found.reason)
    ]
