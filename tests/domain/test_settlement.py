import pytest

from agent.domain.outcome import Accepted, Cancelled, CancelReason, Failed, Outcome, Rejected, Succeeded
from agent.domain.settlement import (
    Delivered,
    NothingToReport,
    Refused,
    Reported,
    Settlement,
    Undelivered,
    settle,
)

ACCEPT, RELEASE, REJECT = Settlement.ACCEPT, Settlement.RELEASE, Settlement.REJECT

EXECUTED: list[Outcome] = [
    Succeeded(),
    Failed("no"),
    Accepted(),
    *(Cancelled(reason) for reason in CancelReason),
]
REPORTS: list[tuple[Reported, Settlement]] = [
    (Delivered(), ACCEPT),
    (Refused(404, "no such run"), ACCEPT),
    (NothingToReport(), ACCEPT),
    (Undelivered("Port did not answer"), RELEASE),
]


@pytest.mark.parametrize("outcome", EXECUTED)
@pytest.mark.parametrize(("reported", "settlement"), REPORTS)
def test_an_executed_run_is_done_with_once_port_knows(
    outcome: Outcome, reported: Reported, settlement: Settlement
) -> None:
    assert settle(outcome, reported) is settlement


@pytest.mark.parametrize("reported", [reported for reported, _ in REPORTS])
def test_a_rejected_message_never_comes_again(reported: Reported) -> None:
    assert settle(Rejected("signature"), reported) is REJECT
