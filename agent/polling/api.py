"""What the polling source asks of Port's API, in its own words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import JsonObject


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that is pending, and hidden from others for a while. ``document`` is what Port says of it."""

    kind: InvocationKind
    run_id: RunId
    document: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim gave. ``unnamed``: how many runs had no id that can be one, so that nothing can be done."""

    runs: tuple[ClaimedRun, ...]
    unnamed: int = 0

    @property
    def count(self) -> int:
        """All that Port gave."""
        return len(self.runs) + self.unnamed


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """Port gave no answer, or a refusal. ``wait_s``: for so long it wants to be left alone.

    ``is_absent``: it does not know this way of asking at all.
    """

    reason: str
    wait_s: float = 0.0
    is_absent: bool = False


class Verdict(StrEnum):
    """What an acknowledgement came to."""

    OURS = "ours"
    """Taken: the run is ours, and Port gives it to nobody any more."""
    TAKEN = "taken"
    """Somebody else has acknowledged it."""
    PERHAPS = "perhaps"
    """Somebody has, and it may have been we: an answer to an earlier attempt was lost."""
    REFUSED = "refused"
    """Port does not let us; nobody has acknowledged it through us."""
    UNANSWERED = "unanswered"
    """No answer in the time there was: it may have been taken."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The answer to an acknowledgement; ``detail`` says more of one that failed."""

    verdict: Verdict
    detail: str = ""


class ClaimsApi(Protocol):
    """Port's API, as far as it hands out runs. Neither method raises, but when cancelled."""

    async def claim(
        self, kind: InvocationKind, limit: int, visibility_s: float, exclude: Collection[RunId]
    ) -> Claimed | NotClaimed:
        """Up to ``limit`` pending runs of this kind but those in ``exclude``; hides them for ``visibility_s``.

        Asks once: the caller paces what follows a failure.
        """

    async def acknowledge(self, kind: InvocationKind, run_id: RunId, timeout_s: float) -> Acknowledged:
        """Makes a run ours for good; asks until there is an answer, or for ``timeout_s``."""
