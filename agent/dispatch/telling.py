"""The last step of runs: Port is told how they ended, however long that takes, and their messages are settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from agent.dispatch.backlog import Backlog
from agent.dispatch.claims import Claim
from agent.dispatch.life import Ended, Lives
from agent.domain.outcome import Failed, FailureKind
from agent.domain.redaction import LOG_MASK
from agent.domain.settlement import Settlement
from agent.ports import LeftOver

DEFECT = "a defect of the agent broke this run off"

log = structlog.get_logger(__name__)


class Telling:
    """Tells Port of ends, one call a run; many go on at once, and count in ``backlog`` for so long.

    ``on_change`` is called when there is no room left in it, and when there is some again.
    """

    def __init__(self, lives: Lives, backlog: Backlog, on_change: Callable[[], None]) -> None:
        self._lives = lives
        self._backlog = backlog
        self._on_change = on_change

    @contextmanager
    def counted(self, size_bytes: int = 0) -> Iterator[None]:
        """While Port must take something of a run."""
        is_full_now = self._backlog.begin(size_bytes)
        try:
            if is_full_now:
                self._on_change()
            yield
        finally:
            if self._backlog.end(size_bytes):
                self._on_change()

    async def conclude(self, claim: Claim, ended: Ended) -> None:
        """Writes its entities, delivers the end of a run, and settles its message.

        Cancelled, the message is to come again.
        """
        settlement = Settlement.RELEASE
        structlog.contextvars.bind_contextvars(**{LOG_MASK: ended.report.masked})
        try:
            ended = await self._complete(ended)
            if (ending := self._lives.ending(ended)) is not None:
                claim.end(ending)
            settlement = await self._report(ended, is_ours=claim.is_ours)
        finally:
            structlog.contextvars.unbind_contextvars(LOG_MASK)
            claim.settle(settlement)

    async def deliver(self, left_over: LeftOver, claim: Claim) -> None:
        """Delivers the end of a run of an earlier life. Cancelled, it is left over for the next one."""
        subject = left_over.subject
        settlement = Settlement.RELEASE
        with structlog.contextvars.bound_contextvars(run_id=subject.run_id, route=subject.route), self.counted():
            log.info("telling Port of a run that ended before this agent was started again")
            try:
                settlement = await self._lives.deliver(left_over)
                log.info("Port has the end of that run", settlement=settlement)
            except Exception:
                log.exception("a defect of the agent: this outcome is left over for the next start")
            finally:
                claim.settle(settlement)

    async def _complete(self, ended: Ended) -> Ended:
        try:
            return await self._lives.complete(ended)
        except Exception:
            log.exception(DEFECT)
            return self._lives.broken_off(ended, broken_off())

    async def _report(self, ended: Ended, *, is_ours: bool) -> Settlement:
        """Where it fails by a defect of ours, a plainer end is delivered."""
        try:
            return await self._lives.conclude(ended, is_ours=is_ours)
        except Exception:
            log.exception(DEFECT)
        try:
            return await self._lives.conclude(self._lives.unexecuted(ended.subject, ended.action, broken_off()))
        except Exception:
            log.exception("a defect of the agent left this run without its end; it will be delivered again")
            return Settlement.RELEASE


def broken_off() -> Failed:
    """The outcome of a run that a defect of ours broke off."""
    return Failed(f"{DEFECT}; the agent's log says more", FailureKind.EXCEPTION)
