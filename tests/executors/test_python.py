from __future__ import annotations

import asyncio
import contextvars
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import Accepted, Failed, Outcome, Run, Succeeded
from agent.domain.outcome import Cancelled, CancelReason, FailureKind, Rejected
from agent.executors.python import PythonFactory
from agent.executors.sync_run import RunCancelledError, SyncRun
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services

_PATIENCE_S = 20.0
Action = Callable[[Any], Any]


@pytest.fixture
def run() -> Iterator[FakeRun]:
    with FakeRun({"name": "billing"}) as run:
        yield run


@pytest.fixture(autouse=True)
def _own_sys_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def _factory(kill_grace_s: float = 0.1) -> PythonFactory:
    return PythonFactory(fake_services(ExecutorSettings(kill_grace_s=kill_grace_s)))


def _execute(run: FakeRun, action: Action, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """The outcome of ``action``, which is found as a route finds it."""
    monkeypatch.setattr(sys.modules[__name__], "routed", action, raising=False)
    executor = _factory().prepare({"callable": f"{__name__}:routed"}, "routes[0].python", FakeTemplates())
    return asyncio.run(asyncio.wait_for(executor.execute(run), _PATIENCE_S))


def _both(returned: object) -> list[Action]:
    async def asynchronous(_: Run) -> object:
        await asyncio.sleep(0)
        return returned

    def synchronous(_: SyncRun) -> object:
        return returned

    return [asynchronous, synchronous]


def _raising(error: BaseException) -> list[Action]:
    async def asynchronous(_: Run) -> None:
        raise error.with_traceback(None)

    def synchronous(_: SyncRun) -> None:
        raise error.with_traceback(None)

    return [asynchronous, synchronous]


# ── what the function may return and raise ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("which", [0, 1], ids=["async", "sync"])
@pytest.mark.parametrize(
    ("returned", "outcome"),
    [
        (None, Succeeded()),
        ("all done", Succeeded("all done")),
        (Succeeded("s"), Succeeded("s")),
        (Failed("f"), Failed("f")),
        (Accepted("a"), Accepted("a")),
    ],
)
def test_an_outcome_or_less(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, which: int, returned: object, outcome: Outcome
) -> None:
    assert _execute(run, _both(returned)[which], monkeypatch) == outcome


@pytest.mark.parametrize("which", [0, 1], ids=["async", "sync"])
@pytest.mark.parametrize("returned", [{"a": 1}, 7, Rejected("no"), Cancelled(CancelReason.AGENT_STOP)])
def test_anything_else_is_a_failure(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, which: int, returned: object
) -> None:
    outcome = _execute(run, _both(returned)[which], monkeypatch)
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.EXCEPTION
    assert outcome.reason.startswith(f"the function returned a {type(returned).__name__}; expected Succeeded")


@pytest.mark.parametrize("which", [0, 1], ids=["async", "sync"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such repository"), "no such repository"),
        (ValueError(), "ValueError"),
        (KeyError("name"), "KeyError: 'name'"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (BaseExceptionGroup("two", [ValueError("1"), SystemExit(2)]), "two (2 sub-exceptions)"),
    ],
)
def test_an_exception_is_a_failure_and_no_end_of_the_agent(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, which: int, error: BaseException, reason: str
) -> None:
    outcome = _execute(run, _raising(error)[which], monkeypatch)
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.EXCEPTION
    function = ("asynchronous", "synchronous")[which]
    assert re.fullmatch(rf"{re.escape(reason)} \(test_python\.py:\d+, in {function}\)", outcome.reason)
    assert not run.lines


def test_an_exception_that_cannot_even_be_shown(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(Exception):  # noqa: N818 - a stranger's name
        def __str__(self) -> str:
            raise ValueError("no words")

    outcome = _execute(run, _raising(Mute())[0], monkeypatch)
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("Mute (test_python.py:")


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_reason_names_the_innermost_place_in_the_operators_own_code(
    run: FakeRun, tmp_path: Path, kind: str
) -> None:
    (tmp_path / f"places_{kind}.py").write_text(
        "import json\n"
        "import places_helper_KIND as helper\n"
        "async def boom_async(run):\n"
        "    helper.parse('{')\n"
        "def boom_sync(run):\n"
        "    helper.parse('{')\n".replace("KIND", kind)
    )
    (tmp_path / f"places_helper_{kind}.py").write_text(
        "import json\ndef parse(text):\n    try:\n        json.loads(text)\n"
        "    except ValueError as error:\n        raise ValueError('not JSON:\\nsee above') from error\n"
        "    return {}['b']\n"
    )
    factory = PythonFactory(fake_services(ExecutorSettings(python_path=(str(tmp_path),))))
    executor = factory.prepare({"callable": f"places_{kind}:boom_{kind}"}, "routes[0].python", FakeTemplates())
    outcome = asyncio.run(asyncio.wait_for(executor.execute(run), _PATIENCE_S))
    expected = f"not JSON: (places_helper_{kind}.py:6, in parse)\nsee above"
    assert outcome == Failed(expected, FailureKind.EXCEPTION)


@pytest.mark.parametrize("which", [0, 1], ids=["async", "sync"])
def test_what_a_library_raises_is_at_the_place_that_called_it(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    async def asynchronous(_: Run) -> None:
        json.loads("{")

    def synchronous(_: SyncRun) -> None:
        json.loads("{")

    outcome = _execute(run, (asynchronous, synchronous)[which], monkeypatch)
    assert isinstance(outcome, Failed)
    assert re.search(r" \(test_python\.py:\d+, in a?synchronous\)$", outcome.reason)


@pytest.mark.parametrize(
    ("returned", "outcome"),
    [
        (Failed(ValueError("used up")), Failed("used up")),  # type: ignore[arg-type]  # as people write it
        (Failed(KeyError("b")), Failed("KeyError: 'b'")),  # type: ignore[arg-type]
        (Failed(None), Failed("the action failed and gave no reason")),  # type: ignore[arg-type]
        (Failed({"code": 7}), Failed('{"code":7}')),  # type: ignore[arg-type]
        (Failed({1}), Failed("{1}")),  # type: ignore[arg-type]
        (Failed("f", "quota"), Failed("f")),  # type: ignore[arg-type]
        (Failed("f", FailureKind.TIMED_OUT), Failed("f", FailureKind.TIMED_OUT)),
        (Succeeded({"made": ["a"]}), Succeeded('{"made":["a"]}')),  # type: ignore[arg-type]
        (Accepted(7), Accepted("7")),  # type: ignore[arg-type]
        (Succeeded(), Succeeded()),
    ],
)
def test_whatever_stands_in_an_outcome_becomes_text(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, returned: Outcome, outcome: Outcome
) -> None:
    for action in _both(returned):
        assert _execute(run, action, monkeypatch) == outcome


@pytest.mark.parametrize("which", [0, 1], ids=["async", "sync"])
def test_the_traceback_is_handed_over_and_begins_with_the_action(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    _execute(run, _raising(ValueError("oops"))[which], monkeypatch)
    [text] = run.tracebacks
    assert text.startswith("Traceback (most recent call last):")
    assert text.rstrip().endswith("ValueError: oops")
    assert Path(__file__).name in text
    assert "executors/python.py" not in text
    assert not run.lines


def test_a_function_that_cancels_itself_has_failed(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _execute(run, _raising(asyncio.CancelledError())[0], monkeypatch)
    assert isinstance(outcome, Failed)
    assert outcome.reason.endswith("cancelled itself")


def test_a_coroutine_from_a_plain_function_is_named(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(_: SyncRun) -> Awaitable[None]:
        return asyncio.sleep(0)

    expected = "the function returned a coroutine: declare it with async def"
    assert _execute(run, wrapped, monkeypatch) == Failed(expected, FailureKind.EXCEPTION)


def test_an_object_with_an_asynchronous_call(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    class Action:
        async def __call__(self, run: Run) -> str:
            await asyncio.sleep(0)
            return str(run.inputs["name"])

    assert _execute(run, Action(), monkeypatch) == Succeeded("billing")


# ── what a synchronous function gets ──────────────────────────────────────────────────────────────────


def test_everything_of_a_run_in_plain_calls_from_any_thread(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    loop_thread = threading.current_thread()
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("bound")

    def action(sync: SyncRun) -> str:
        assert threading.current_thread() is not loop_thread
        assert (sync.run_id, sync.route, sync.attempt) == (run.run_id, "fake", 1)
        assert (sync.inputs, sync.entity, sync.view) == ({"name": "billing"}, None, run.view)
        assert (sync.invocation, sync.deadline_s, sync.cancellation) == (run.invocation, run.deadline_s, None)
        (sync.workspace / "file").touch()
        sync.log("hello", level="WARN")
        sync.mask("s3cr3t")
        sync.summary("the s3cr3t")
        sync.response({"method": "GET"}, {"status": 200})
        sync.retried("once")
        stream = sync.stream("raw")
        others = [threading.Thread(target=stream.write, args=(b"line\n",)) for _ in range(5)]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()
        stream.close()
        return variable.get()

    assert _execute(run, action, monkeypatch) == Succeeded("bound")
    assert (run.workspace / "file").exists()
    assert run.log_text.splitlines() == ["hello", *["line"] * 5]
    assert run.summaries == ["the [masked]"]
    assert run.exchanges == [({"method": "GET"}, {"status": 200})]
    assert run.retries == ["once"]


def test_an_entity_that_port_refuses_is_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def action(sync: SyncRun) -> None:
        sync.upsert_entity("service", identifier="x")

    with FakeRun(refuse_entities="no such blueprint") as run:
        outcome = _execute(run, action, monkeypatch)
    assert isinstance(outcome, Failed)
    assert re.fullmatch(r"no such blueprint \(test_python\.py:\d+, in action\)", outcome.reason)


def test_except_exception_does_not_keep_a_stopped_action_going(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, seen = threading.Event(), list[BaseException]()

    def action(sync: SyncRun) -> None:
        started.set()
        try:
            while True:
                try:
                    sync.log("on and on")
                except Exception:  # noqa: BLE001 - as people write it
                    time.sleep(0)
        except BaseException as error:
            seen.append(error)
            raise

    _cancelled(run, action, monkeypatch, started)
    assert [type(error) for error in seen] == [RunCancelledError]


def _cancelled(
    run: FakeRun, action: Action, monkeypatch: pytest.MonkeyPatch, started: threading.Event, grace_s: float = 20.0
) -> PythonFactory:
    monkeypatch.setattr(sys.modules[__name__], "routed", action, raising=False)
    factory = _factory(grace_s)
    executor = factory.prepare({"callable": f"{__name__}:routed"}, "routes[0].python", FakeTemplates())

    async def scene() -> None:
        task = asyncio.create_task(executor.execute(run))
        await asyncio.to_thread(started.wait, _PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), _PATIENCE_S)

    asyncio.run(scene())
    return factory


def test_a_thread_that_is_left_behind_is_counted_and_cannot_say_anything(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release, seen = threading.Event(), threading.Event(), list[BaseException]()

    def action(sync: SyncRun) -> None:
        started.set()
        release.wait()
        try:
            sync.log("too late")
        except BaseException as error:
            seen.append(error)
            raise

    factory = _cancelled(run, action, monkeypatch, started, grace_s=0.05)
    assert factory.left_behind == 1
    assert [(line.level, line.text) for line in run.lines] == [
        ("ERROR", f"{__name__}:routed did not stop; its thread goes on, unheard (1 such threads)")
    ]
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("action "):
            thread.join(_PATIENCE_S)
    assert [type(error) for error in seen] == [RunCancelledError]


def test_an_asynchronous_function_may_clean_up_within_the_grace(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    async def action(run: Run) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            run.log("undone")

    _cancelled(run, action, monkeypatch, started)
    assert run.log_text == "undone"


def test_a_coroutine_that_is_given_up_is_never_resumed(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    started, resumed = threading.Event(), list[str]()

    async def action(_: Run) -> None:
        started.set()
        try:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    resumed.append("by the cancellation")
        finally:
            resumed.append("for its end")

    _cancelled(run, action, monkeypatch, started, grace_s=0.05)
    assert resumed == ["by the cancellation", "for its end"]
    assert run.log_text == f"{__name__}:routed did not stop when it was cancelled, and was given up"


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_an_action_that_never_ends_does_not_hold_the_process(kind: str, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        """
import asyncio, threading
async def routed_async(run):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
def routed_sync(run):
    threading.Event().wait()
"""
    )
    program = f"""
import asyncio
from agent.executors.python import PythonFactory
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services
async def main():
    factory = PythonFactory(fake_services(ExecutorSettings(kill_grace_s=0.05, python_path=({str(tmp_path)!r},))))
    executor = factory.prepare({{"callable": "stubborn:routed_{kind}"}}, "routes[0].python", FakeTemplates())
    with FakeRun() as run:
        try:
            await asyncio.wait_for(executor.execute(run), 0.05)
        except TimeoutError:
            print("timed out")
    await factory.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "timed out\n", "")


def test_the_operators_path_comes_first_once_and_in_its_order(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for _ in range(2):
        PythonFactory(fake_services(ExecutorSettings(python_path=(str(first), str(second)))))
    assert sys.path[:2] == [str(first), str(second)]
    assert sys.path.count(str(first)) == 1


def test_preview_calls_nothing(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "routed", _raising(SystemExit())[1], raising=False)
    executor = _factory().prepare({"callable": f"{__name__}:routed"}, "routes[0].python", FakeTemplates())
    assert asyncio.run(executor.preview(run.view)) == {"callable": f"{__name__}:routed", "asynchronous": False}


def test_many_synchronous_actions_at_once_wait_for_no_thread(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than any pool would have by default."""
    count = 40 + (os.cpu_count() or 1)
    barrier = threading.Barrier(count)

    def action(sync: SyncRun) -> None:
        sync.log("here")
        barrier.wait(_PATIENCE_S)

    monkeypatch.setattr(sys.modules[__name__], "routed", action, raising=False)
    executor = _factory().prepare({"callable": f"{__name__}:routed"}, "routes[0].python", FakeTemplates())

    async def scene() -> list[Outcome]:
        return await asyncio.gather(*(executor.execute(run) for _ in range(count)))

    assert asyncio.run(scene()) == [Succeeded()] * count
