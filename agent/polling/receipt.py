"""The receipt of a claimed run: what the source knows of it, from its claim to its settlement."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.invocation import InvocationKind, RunId
from agent.polling.claims_file import Kept, Mark

_PASTS = {Mark.BEGUN: Past.INTERRUPTED, Mark.STOPPED: Past.STOPPED, Mark.ENDED: Past.ENDED, Mark.OURS: Past.UNKNOWN}


@dataclass(slots=True, eq=False)
class Receipt:
    """One run in hand. ``until_s`` (monotonic) and ``until_epoch_s`` are when its claim ends.

    ``mark`` is ``None`` until it is to be acknowledged. ``is_acknowledged``: Port gives it to nobody any more.
    ``is_at_work``: its work goes on here. ``is_lost``: it was said once that it is not ours, which is final.
    ``is_withdrawn``: whoever began it wants it no more. ``given_at_s`` is when it was handed over, ``None`` before.
    ``was_asked``: it was to be acknowledged under an earlier claim; that may have come to pass late.
    """

    run_id: RunId
    kind: InvocationKind
    body: bytes = field(repr=False)
    until_s: float
    until_epoch_s: float
    mark: Mark | None = None
    begun: int = 0
    agent: str = ""
    ending: Ending | None = None
    earlier: Earlier | None = None
    is_acknowledged: bool = False
    is_at_work: bool = False
    is_lost: bool = False
    is_withdrawn: bool = False
    is_settled: bool = False
    given_at_s: float | None = None
    was_asked: bool = False

    @classmethod
    def of_kept(cls, kept: Kept, earlier: Earlier | None) -> Receipt:
        """That of a run that was acknowledged before."""
        return cls(
            kept.run_id,
            kept.kind,
            kept.body,
            until_s=0.0,
            until_epoch_s=kept.until_epoch_s,
            mark=kept.mark,
            begun=kept.begun,
            agent=kept.agent,
            ending=kept.ending,
            earlier=earlier,
            is_acknowledged=True,
        )

    @property
    def origin(self) -> str:
        """Where it came from, for people; the same in every life of the agent."""
        return f"polling[{self.run_id}]"

    def waits(self, now_s: float) -> bool:
        """Whether it was claimed for us, for some time still, and its work was not begun."""
        if self.is_settled or self.is_lost or self.is_acknowledged:
            return False
        return self.mark is Mark.ASKED or now_s < self.until_s

    def was_given_before(self, time_s: float) -> bool:
        """Whether it was handed over before that time."""
        return self.given_at_s is not None and self.given_at_s < time_s

    def kept(self, mark: Mark) -> Kept:
        """What is to be kept of it from now on."""
        self.mark = mark
        return Kept(
            self.run_id, self.kind, mark, self.begun, self.agent, self.ending, self.until_epoch_s, self.body
        )


def earlier_of(kept: Kept) -> Earlier:
    """What is known of a run that an earlier life has left, and that is ours for sure."""
    return Earlier(_PASTS.get(kept.mark, Past.UNKNOWN), kept.begun, kept.agent, kept.ending)


def doubtful(kept: Kept) -> Earlier:
    """What is known of a run that somebody has acknowledged: another agent, which may be at it, or we."""
    return Earlier(Past.HANDED_OVER, max(1, kept.begun))
