"""`Source` over Kafka: gets the credentials, keeps the thread, and hides positions behind receipts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from agent.delivery.positions import Position
from agent.domain.earlier import Ending
from agent.domain.errors import AgentError, SourceLostError
from agent.domain.events import SourceFailed
from agent.domain.retry import Backoff
from agent.domain.settlement import Settlement
from agent.kafka.config import KafkaCredentials, KafkaSettings, consumer_config
from agent.kafka.consumer_thread import ConsumerThread
from agent.kafka.handoff import Handoff
from agent.kafka.start_markers import Tell
from agent.ports import Clock, Delivery, Observer

FetchCredentials = Callable[[], Awaitable[KafkaCredentials]]

_BACKOFF = Backoff(first_s=1.0, cap_s=30.0)
_QUICK_QUESTIONS = 6
"""So many until the waits no longer grow. The client repeats the same complaint every 30 s only."""
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """A start that is asked for, and who waits for its answer."""

    position: Position
    answer: asyncio.Future[bool]


class KafkaSource:
    """Deliveries of the organisation's topics. Belongs to the event loop's thread.

    ``fetch_credentials`` is called at start, and again whenever a broker refuses what it was given; it raises
    `AgentError` where there is none to be had, and is then asked again, with growing waits, for ever.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        fetch_credentials: FetchCredentials,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._fetch_credentials = fetch_credentials
        self._observer = observer
        self._clock = clock
        self._handoff: Handoff
        self._thread: ConsumerThread | None = None
        self._refused = asyncio.Event()
        self._connector: asyncio.Task[None] | None = None
        self._intake_stopped = False

    @property
    def name(self) -> str:
        """``kafka``."""
        return "kafka"

    @property
    def begins_for_good(self) -> bool:
        """No: what was read is anybody's until it is committed."""
        return False

    async def start(self) -> None:
        """Begins to connect, in the background."""
        self._handoff = Handoff(
            asyncio.get_running_loop(),
            max_records=self._settings.max_records,
            max_bytes=self._settings.max_bytes,
        )
        self._connector = asyncio.create_task(self._keep_connected(), name="kafka-credentials")
        self._connector.add_done_callback(self._on_connector_ended)

    async def next(self) -> Delivery | None:
        """The next delivery that is still ours. Raises `SourceLostError` if the consumer cannot go on."""
        while (delivery := await self._handoff.get()) is not None:
            if self.is_ours(delivery.receipt):
                return delivery
        return None

    def is_ours(self, receipt: object) -> bool:
        """Whether the partition is still ours, in the assignment in which the message was read."""
        return self._owner(receipt).is_current(_position(receipt))

    def begin(self, receipt: object) -> asyncio.Future[bool]:
        """Done once the start marker is committed, or the partition went to another agent (``False``).

        A commit that is long ago by the time at which this loop hears of it is made anew: the process may have
        stood still meanwhile.
        """
        start = _Start(_position(receipt), asyncio.get_running_loop().create_future())
        self._owner(receipt).start_work(start.position, start)
        return start.answer

    async def secure(self, receipt: object) -> bool:
        """As long as the partition is ours nobody else has its messages."""
        return self.is_ours(receipt)

    def resume(self, receipt: object) -> None:
        """Queues it for the consumer's thread."""
        self._owner(receipt).resume_work(_position(receipt))

    def withdraw(self, receipt: object) -> None:
        """Takes a start back."""
        self._owner(receipt).withdraw(_position(receipt))

    def end(self, receipt: object, ending: Ending) -> None:
        """Queues it for the consumer's thread."""
        self._owner(receipt).end_work(_position(receipt), ending)

    def settle(self, receipt: object, settlement: Settlement) -> None:
        """Queues the settlement for the consumer's thread."""
        self._owner(receipt).settle(_position(receipt), settlement)

    async def stop_intake(self) -> None:
        """Pauses all partitions and drops what was fetched but not taken: it was never started."""
        self._intake_stopped = True
        if self._thread is not None:
            self._thread.stop_intake()
        self._handoff.close()

    async def close(self, timeout_s: float) -> None:
        """Commits, leaves the group and ends the thread, all within about ``timeout_s``."""
        await self.stop_intake()
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)
            self._connector = None
        if self._thread is not None and not await _has_closed(self._thread, timeout_s):
            detail = f"still leaving the group after {timeout_s:.0f} s; the broker will notice by itself"
            self._observer.notify(SourceFailed("close_timeout", detail))

    async def _keep_connected(self) -> None:
        credentials = await self._credentials() if self._settings.needs_credentials else None
        if self._intake_stopped:
            return
        self._thread = ConsumerThread(
            self._settings,
            consumer_config(self._settings, credentials),
            self._handoff,
            self._observer,
            self._clock,
            on_refused=self._note_refusal(),
            tell_starts=self._answering(),
        )
        self._thread.start()
        while credentials is not None:
            await self._refused.wait()
            credentials = await self._renewed(credentials, self._thread)

    async def _renewed(self, refused: KafkaCredentials, thread: ConsumerThread) -> KafkaCredentials:
        """Asks until there are others than those that were refused, or nobody refuses them any more.

        Port and the brokers need not learn of a rotation at the same moment: the first questions follow each other
        soon. Raises `SourceLostError` where all brokers are others now; any that is the same knows the rest.
        """
        attempt = 0
        while attempt < _QUICK_QUESTIONS or self._refused.is_set():
            attempt += 1
            self._refused.clear()
            await asyncio.sleep(_BACKOFF.wait_s(attempt, random.random()))  # noqa: S311 - jitter, no secret
            fresh = await self._credentials()
            is_other = (fresh.username, fresh.password) != (refused.username, refused.password)
            if is_other:
                thread.use_credentials(fresh)
                self._refused.clear()  # what was refused meanwhile were the old ones
            if set(fresh.brokers).isdisjoint(refused.brokers) and not self._settings.bootstrap_servers:
                raise SourceLostError("the organisation's brokers have changed: a new start takes the new ones")
            if is_other:
                return fresh
        return refused

    def _on_connector_ended(self, connector: asyncio.Task[None]) -> None:
        """Without it nobody would ever connect again: better that the agent drains and is started anew."""
        if not connector.cancelled() and (error := connector.exception()) is not None:
            self._handoff.fail(error if isinstance(error, SourceLostError) else SourceLostError(repr(error)))

    async def _credentials(self) -> KafkaCredentials:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._fetch_credentials()
            except AgentError as error:
                self._observer.notify(SourceFailed("credentials", str(error)))
            await asyncio.sleep(_BACKOFF.wait_s(attempt, random.random()))  # noqa: S311 - jitter, no secret

    def _note_refusal(self) -> Callable[[], None]:
        loop, refused = asyncio.get_running_loop(), self._refused
        return lambda: _call_soon(loop, refused.set)

    def _answering(self) -> Tell:
        """Answers starts from the consumer's thread."""
        loop = asyncio.get_running_loop()
        return lambda tokens, until_s: _call_soon(loop, partial(self._answer, tokens, until_s))

    def _answer(self, tokens: list[object], until_s: float | None) -> None:
        """Passes over those that nobody waits for any more; asks anew for those that come too late."""
        is_late = until_s is not None and self._clock.monotonic() >= until_s
        for start in tokens:
            if not isinstance(start, _Start) or start.answer.done():
                continue
            if is_late:
                thread = self._owner(start.position)
                thread.withdraw(start.position)
                thread.start_work(start.position, start)
            else:
                start.answer.set_result(until_s is not None)

    def _owner(self, receipt: object) -> ConsumerThread:
        thread = self._thread
        if thread is None:
            raise TypeError(f"{receipt!r} was not given out by this source")
        return thread


async def _has_closed(thread: ConsumerThread, timeout_s: float) -> bool:
    """Tells it to close, at once, and looks whether it has; needs no further thread for that."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not thread.close(0.0):
        if loop.time() >= deadline_s:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is gone, and with it everyone who could wait
        loop.call_soon_threadsafe(callback)


def _position(receipt: object) -> Position:
    if not isinstance(receipt, Position):
        raise TypeError(f"not a receipt of this source: {receipt!r}")
    return receipt
