"""Whose a run is that was perhaps acknowledged: when Port is asked, and who is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from agent.domain.events import ClaimAcknowledged
from agent.domain.invocation import InvocationKind, RunId
from agent.polling.api import Acknowledged, Verdict
from agent.polling.claims_file import Kept, Mark
from agent.polling.doubts import Doubts
from agent.polling.pace import Pace
from tests.runs_api.rig import Facts

UNTIL_EPOCH_S = 1000.0


@dataclass
class HeldClock:
    now_s: float = 0.0
    epoch_s: float = UNTIL_EPOCH_S - 0.5

    def monotonic(self) -> float:
        return self.now_s

    def epoch(self) -> float:
        return self.epoch_s


@dataclass
class Scene:
    """Doubts, a Port that answers by ``verdicts`` (else `Verdict.UNANSWERED`), and who was told what."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    clock: HeldClock = field(default_factory=HeldClock)
    facts: Facts = field(default_factory=Facts)
    asked: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.doubts = Doubts(
            self,  # type: ignore[arg-type]  # of Port, all that is asked for here
            self.facts,
            self.clock,
            Pace(first_backoff_s=10.0, backoff_factor=2.0, max_backoff_s=300.0),
            ours=lambda kept: self.told.append(("ours", kept.run_id)),
            perhaps_ours=lambda kept: self.told.append(("perhaps", kept.run_id)),
            refused=lambda run_id: self.told.append(("refused", run_id)),
        )

    async def acknowledge(self, _kind: InvocationKind, run_id: RunId, timeout_s: float) -> Acknowledged:
        assert timeout_s > 0
        self.asked.append(run_id)
        return Acknowledged(self.verdicts.get(run_id, Verdict.UNANSWERED), "said")

    def doubt(self, *names: str) -> None:
        for name in names:
            self.doubts.add(
                Kept(RunId(name), InvocationKind.ACTION_RUN, Mark.ASKED, 0, "", None, UNTIL_EPOCH_S, b"")
            )

    def resolve(self, at_s: float) -> list[str]:
        """What is asked about then."""
        self.clock.now_s = at_s
        before = len(self.asked)
        asyncio.run(self.doubts.resolve())
        return self.asked[before:]


@pytest.mark.parametrize(
    ("verdict", "epoch_s", "told"),
    [
        (Verdict.OURS, UNTIL_EPOCH_S + 99, "ours"),
        (Verdict.TAKEN, UNTIL_EPOCH_S - 0.5, "ours"),
        (Verdict.PERHAPS, UNTIL_EPOCH_S - 0.5, "ours"),
        (Verdict.TAKEN, UNTIL_EPOCH_S, "perhaps"),
        (Verdict.PERHAPS, UNTIL_EPOCH_S, "perhaps"),
        (Verdict.REFUSED, UNTIL_EPOCH_S - 0.5, "refused"),
    ],
)
def test_what_port_answers_ends_a_doubt_and_says_whose_it_is(verdict: Verdict, epoch_s: float, told: str) -> None:
    scene = Scene({"r_1": verdict})
    scene.clock.epoch_s = epoch_s
    scene.doubt("r_1")
    assert scene.resolve(0.0) == ["r_1"]
    assert scene.told == [(told, "r_1")]
    assert scene.facts.events == [ClaimAcknowledged("action_run", str(verdict), "said")]
    assert scene.resolve(0.0) == []


def test_after_a_silence_the_others_come_first_and_the_waits_grow_to_a_minute() -> None:
    scene = Scene()
    scene.doubt("r_1", "r_2")
    asked_at_s: list[float] = []
    turns: list[str] = []
    now_s = 0.0
    while len(turns) < 6:
        if asked := scene.resolve(now_s):
            asked_at_s.append(now_s)
            turns += asked
        now_s += 1.0
    assert turns == ["r_1", "r_2"] * 3
    assert asked_at_s == [0.0, 10.0, 30.0, 70.0, 130.0, 190.0]
    assert scene.told == []


def test_an_answer_makes_the_waits_short_again() -> None:
    scene = Scene()
    scene.doubt("r_1")
    assert scene.resolve(0.0) == scene.resolve(10.0) == ["r_1"]
    scene.verdicts["r_1"] = Verdict.OURS
    assert scene.resolve(30.0) == ["r_1"]
    scene.doubt("r_2")
    assert scene.resolve(30.0) == ["r_2"]
    assert scene.resolve(39.0) == []
    assert scene.resolve(40.0) == ["r_2"]


def test_so_many_are_asked_about_at_once() -> None:
    names = [f"r_{number}" for number in range(30)]
    scene = Scene(dict.fromkeys(names, Verdict.OURS))
    scene.doubt(*names)
    assert scene.resolve(0.0) == names[:20]
    assert scene.resolve(0.0) == names[20:]


def test_what_is_pending_is_in_doubt_no_longer() -> None:
    scene = Scene()
    scene.doubt("r_1")
    assert scene.doubts.end(RunId("r_1"))
    assert not scene.doubts.end(RunId("r_1"))
    assert scene.resolve(0.0) == []
