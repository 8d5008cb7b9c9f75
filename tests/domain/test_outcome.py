import pytest

from agent.domain.earlier import Ending
from agent.domain.outcome import (
    Accepted,
    Cancelled,
    CancelReason,
    Conclusion,
    Failed,
    FailureKind,
    Outcome,
    Rejected,
    RunStatus,
    Succeeded,
    conclude,
    ending_of,
    outcome_label,
)

SUCCESS, FAILURE = RunStatus.SUCCESS, RunStatus.FAILURE


@pytest.mark.parametrize(
    ("outcome", "conclusion", "label"),
    [
        (Succeeded(), Conclusion(SUCCESS), "success"),
        (Succeeded("done"), Conclusion(SUCCESS, "done"), "success"),
        (Failed("exit 3", FailureKind.EXIT_CODE), Conclusion(FAILURE, "exit 3"), "failure"),
        (Failed(""), Conclusion(FAILURE), "failure"),
        (Accepted(), Conclusion(None), "accepted"),
        (Accepted("queued"), Conclusion(None, "queued"), "accepted"),
        (Rejected("signature"), None, "rejected"),
        (Cancelled(CancelReason.CLOSED_IN_PORT, "gone"), None, "cancelled"),
        (
            Cancelled(CancelReason.AGENT_STOP, "the agent was stopped"),
            Conclusion(FAILURE, "the agent was stopped", cancelled=True),
            "cancelled",
        ),
        (
            Cancelled(CancelReason.AGENT_STOP),
            Conclusion(FAILURE, "cancelled: agent_stop", cancelled=True),
            "cancelled",
        ),
    ],
)
def test_what_port_is_told(outcome: Outcome, conclusion: Conclusion | None, label: str) -> None:
    assert conclude(outcome) == conclusion
    assert outcome_label(outcome) == label


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (Succeeded(), Ending.SUCCESS),
        (Failed("no"), Ending.FAILURE),
        (Accepted(), Ending.ACCEPTED),
        (Rejected("signature"), None),
        (Cancelled(CancelReason.AGENT_STOP), Ending.FAILURE),
        (Cancelled(CancelReason.CLOSED_IN_PORT), None),
    ],
)
def test_what_others_must_know_until_port_does(outcome: Outcome, ending: Ending | None) -> None:
    assert ending_of(outcome) == ending
