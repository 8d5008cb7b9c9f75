"""What a reporter keeps of a run's end, for how long, and what becomes of it in the agent's next life."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.outcome import Accepted, Failed, Rejected, Succeeded
from agent.domain.settlement import Delivered, NothingToReport, Refused, Reported, Undelivered
from agent.ports import LeftOver, Subject
from agent.runs_api.journal import Journal
from agent.runs_api.journal_file import JournalFile
from agent.runs_api.reporter import PortReporter
from agent.sandbox.port_api import Effect, Fault
from tests.runs_api.rig import Rig, until, with_rig


def journal_in(directory: Path, rig: Rig) -> Journal:
    return Journal(partial(JournalFile.open_first_free, directory, 1 << 20), rig.facts)


class Lives:
    """One agent after the other, on one state directory."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self._rig = rig
        self._directory = directory
        self.journal: Journal
        self.reporter = self.begin()

    def begin(self) -> PortReporter:
        """A new life, after `end`."""
        self.journal = journal_in(self._directory, self._rig)
        self.reporter = PortReporter(
            self._rig.client, self._rig.facts, self._rig.clock, secrets=["hunter2-hunter2"], journal=self.journal
        )
        return self.reporter

    def end(self) -> None:
        """The process is gone, but not before the journal's thread had its turn."""
        self.journal.close(20)

    def subject(self, run_id: str, kind: InvocationKind = InvocationKind.ACTION_RUN) -> Subject:
        return Subject(RunId(run_id), kind, "runs[0]@7", "a-route")

    def left_over(self) -> list[LeftOver]:
        """As the next life finds it."""
        self.end()
        return list(self.begin().left_over())


def test_an_outcome_that_port_accepts_is_kept_no_longer(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        for outcome in (Succeeded("done"), Failed("why"), Accepted("over to you")):
            run_id = rig.api.ledger.create_run("act")
            assert await lives.reporter.open(lives.subject(run_id), ()).finish(outcome) == Delivered()
        assert lives.left_over() == []
        lives.end()

    with_rig(scenario)


def test_one_that_port_refuses_for_good_is_kept_no_longer(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        report = lives.reporter.open(lives.subject("r_unknown"), ())
        assert isinstance(await report.finish(Succeeded()), Refused)
        assert lives.left_over() == []
        lives.end()

    with_rig(scenario)


def test_what_port_must_not_hear_is_not_kept(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act")
        assert await lives.reporter.open(lives.subject(run_id), ()).finish(Rejected("no")) == NothingToReport()
        nobody = lives.reporter.open(Subject(None, InvocationKind.CHANGE_EVENT), ())
        assert await nobody.finish(Succeeded()) == NothingToReport()
        silent = lives.reporter.open(lives.subject(run_id), ())
        assert await silent.finish(Accepted()) == NothingToReport()
        assert lives.left_over() == []
        lives.end()

    with_rig(scenario)


def test_an_outcome_is_kept_before_its_log_is_flushed_and_told_whole_in_the_next_life(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault(f"/v1/actions/runs/{run_id}*", effect=Effect.HANG, times=None))
        report = lives.reporter.open(lives.subject(run_id), ())
        report.log("a line that Port does not take")
        report.link("https://git.example.com/new")
        report.status_label("hunter2-hunter2 says hello")
        finishing = asyncio.create_task(report.finish(Succeeded("made of hunter2-hunter2")))
        await until(lambda: len(rig.requests_of(run_id)) == 1)  # its log hangs, and so its end is not told
        assert not finishing.done()
        [left] = lives.left_over()
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        rig.api.script.clear()

        assert left.subject == lives.subject(run_id)
        assert await left.deliver() == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert run.terminal_statuses == ["SUCCESS"]
        assert run.links == ["https://git.example.com/new"]
        assert "hunter2" not in f"{run.summary}{run.status_label}"
        assert lives.left_over() == []
        lives.end()

    with_rig(scenario)


def test_each_left_over_is_handed_out_once(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault(f"/v1/actions/runs/{run_id}", effect=Effect.HANG, times=None))
        finishing = asyncio.create_task(lives.reporter.open(lives.subject(run_id), ()).finish(Succeeded()))
        await until(lambda: bool(rig.requests_of(run_id)))
        assert len(lives.left_over()) == 1
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        assert lives.reporter.left_over() == []
        lives.end()

    with_rig(scenario)


def test_what_port_knows_already_is_not_told_again(tmp_path: Path) -> None:
    """The answer to the last life's report was lost with that life."""

    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault(f"/v1/actions/runs/{run_id}", effect=Effect.DROP_REPLY, times=1))
        rig.faults(Fault(f"/v1/actions/runs/{run_id}", method="PATCH", effect=Effect.HANG, times=None))
        finishing = asyncio.create_task(lives.reporter.open(lives.subject(run_id), ()).finish(Succeeded()))
        await until(lambda: len(rig.requests_of(run_id)) == 2)
        [left] = lives.left_over()
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        rig.api.script.clear()

        assert await left.deliver() == NothingToReport()
        run = rig.api.ledger.runs[run_id]
        assert (run.terminal_statuses, run.refused_statuses) == (["SUCCESS"], [])
        assert lives.left_over() == []
        lives.end()

    with_rig(scenario)


def test_a_nodes_run_that_cannot_be_found_is_told(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act", run_id="wfnr_1")
        subject = lives.subject(run_id, InvocationKind.NODE_RUN)
        rig.faults(Fault("*/wfnr_1", effect=Effect.RESET, times=None))
        report = lives.reporter.open(subject, ())
        report.output("answer", {"n": 42})
        finishing = asyncio.create_task(report.finish(Succeeded()))
        await until(lambda: len(rig.requests_of(run_id)) == 1)
        [left] = lives.left_over()
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        rig.api.script.clear()

        assert await left.deliver() == Delivered()
        assert rig.bodies("*/wfnr_1")[-1] == {
            "status": "COMPLETED",
            "result": "SUCCESS",
            "output": {"answer": {"n": 42}},
            "externalRunId": "wfnr_1",
        }
        lives.end()

    with_rig(scenario)


def test_in_a_hurry_it_stays_left_over(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act", run_id="wfnr_2")
        subject = lives.subject(run_id, InvocationKind.NODE_RUN)
        rig.faults(Fault("*/wfnr_2", status=503, times=None))
        finishing = asyncio.create_task(lives.reporter.open(subject, ()).finish(Succeeded()))
        await until(lambda: bool(rig.requests_of(run_id)))
        [left] = lives.left_over()
        lives.reporter.hurry(0.1)
        answers: tuple[Reported, ...] = await asyncio.gather(finishing, left.deliver())
        assert all(isinstance(answer, Undelivered) for answer in answers)
        assert len(lives.left_over()) == 1
        lives.end()

    with_rig(scenario)


LOOK_UP = "/v1/workflows/nodes/runs"


@pytest.mark.parametrize("fault", [Fault(LOOK_UP, status=503, times=None), Fault(LOOK_UP, effect=Effect.HANG)])
def test_in_a_hurry_it_is_not_asked_for_ever_how_far_the_run_is(tmp_path: Path, fault: Fault) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        run_id = rig.api.ledger.create_run("act", run_id="wfnr_3")
        rig.faults(Fault("*/wfnr_3", status=503, times=None), fault)
        report = lives.reporter.open(lives.subject(run_id, InvocationKind.NODE_RUN), ())
        finishing = asyncio.create_task(report.finish(Succeeded()))
        await until(lambda: bool(rig.requests_of(run_id)))
        [left] = lives.left_over()
        delivering = asyncio.create_task(left.deliver())
        await until(lambda: bool(rig.bodies(LOOK_UP)))
        lives.reporter.hurry(0.0)
        async with asyncio.timeout(30):
            assert isinstance(await delivering, Undelivered)
            assert isinstance(await left.deliver(), Undelivered)  # it begins when the time is over already
        await finishing
        assert len(lives.left_over()) == 1
        lives.end()

    with_rig(scenario)


def test_a_report_says_how_much_it_holds(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        report = lives.reporter.open(lives.subject(rig.api.ledger.create_run("act")), ())
        assert report.size_bytes == 0
        report.stream("stdout").write(b"x" * 999 + b"\n")
        report.summary("s" * 500)
        report.link("l" * 30)
        report.output("o", "p" * 70)
        assert 1_600 <= report.size_bytes <= 1_700
        report.abandon()
        lives.end()

    with_rig(scenario)


def test_the_journal_is_closed_also_where_the_connections_cannot_be(tmp_path: Path) -> None:
    async def refuse() -> None:
        raise OSError("no")

    async def scenario(rig: Rig) -> None:
        lives = Lives(rig, tmp_path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rig.client, "close", refuse)
            with pytest.raises(OSError, match="no"):
                await lives.reporter.close()
        heir = JournalFile.open_first_free(tmp_path, 1 << 20)  # in the same place, which is free
        assert heir.path.name == "outcomes-v1-0.sqlite3"
        heir.close()

    with_rig(scenario)
