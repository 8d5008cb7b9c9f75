import pytest

from agent.domain.invocation import Channel, Invocation
from agent.intake.reader import MessageIntake
from agent.ports import Decoded
from tests.intake.port import SECRET, Decode, StillClock


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def intake(clock: StillClock) -> MessageIntake:
    return MessageIntake(SECRET, clock)


@pytest.fixture
def decode(intake: MessageIntake) -> Decode:
    """What a message becomes that must be accepted."""

    def decoded(body: bytes, channel: Channel = Channel.RUNS) -> Invocation:
        result = intake.decode(body, channel)
        assert isinstance(result, Decoded), result
        return result.invocation

    return decoded
