"""The one thread that owns the consumer: it polls whatever happens, and nobody else touches the client.

Work never runs here. Settlements come in by a queue and are entered in the ledger between two polls; records
go out by the `Handoff`. While the dispatcher is behind, the thread first waits a moment for room (a pause throws
away what the client has prefetched) and then pauses its partitions, polling on, so that the group never
misses it, however long the runs take. `Fetched`, `Pauses` and `PartitionWatch` are parts of this thread: it
lends them the client.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from agent.delivery.assignment import Assignment
from agent.delivery.commit_policy import CommitPolicy
from agent.delivery.ledger import IllegalTransitionError
from agent.delivery.positions import Partition, Position
from agent.domain.earlier import Ending
from agent.domain.errors import SourceLostError
from agent.domain.events import Consumed, Polled, Rebalanced, SourceFailed
from agent.domain.invocation import Channel
from agent.domain.settlement import Settlement
from agent.kafka.client import (
    OpenConsumer,
    explained,
    is_fatal,
    is_member,
    parent_of,
    partition_of,
    refuses_credentials,
)
from agent.kafka.committer import Committer
from agent.kafka.config import KafkaCredentials, KafkaSettings
from agent.kafka.fetched import Fetched
from agent.kafka.handoff import Handoff
from agent.kafka.partition_watch import PartitionWatch
from agent.kafka.pauses import Pauses
from agent.kafka.start_markers import Tell
from agent.ports import Clock, Delivery, Observer

_POLL_S = 0.1
_EAGER_POLL_S = 0.002
"""While a start waits for a commit, or will be asked for soon: nothing wakes the client's poll."""
_BUSY_POLL_S = 0.01
"""While much comes about: what waits a little longer shares a commit, and each poll makes the event loop wait."""
_BUSY_COMMANDS = 4
_EAGER_FOR_S = 0.1
"""After a record or a command: what follows of it, such as a start, comes about now."""
_READY_POLL_S = 0.01
"""While a run may begin at any moment, but may as well wait for hours."""
_POLLED_S = 0.5
_ROOM_WAIT_S = 0.05
_BATCH = 200
_STATUS_INTERVAL_S = 2.0
_LAST_COMMIT_S = 3.0


class ConsumerThread:
    """Runs one consumer from `start` to `close`; its public methods may be called from any thread.

    Whatever ends the thread early reaches the loop as `SourceLostError` from the handoff. ``on_refused`` is
    called on this thread each time a broker refuses the credentials; ``tell_starts`` answers what `start` asked.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        config: dict[str, object],
        handoff: Handoff,
        observer: Observer,
        clock: Clock,
        *,
        on_refused: Callable[[], None],
        tell_starts: Tell,
        open_consumer: OpenConsumer = Consumer,
    ) -> None:
        self._settings = settings
        self._handoff = handoff
        self._observer = observer
        self._clock = clock
        self._on_refused = on_refused
        self._tell_starts = tell_starts
        self._open_consumer = open_consumer
        self._assignment = Assignment(settings.agent_name)
        self._fetched = Fetched(self._assignment, observer, clock, self._start_over, self._first_end)
        self._pauses = Pauses(self._assignment, self._fetched, settings.max_span)
        self._watch = PartitionWatch(self._assignment, self._pauses, from_start=settings.reads_from_start)
        policy = CommitPolicy(settings.commit_interval_s)
        self._committer = Committer(
            self._assignment,
            policy,
            observer,
            clock,
            tell_starts,
            believed_for_s=settings.believed_for_s,
        )
        self._config = {**config, "error_cb": self._on_error, "on_commit": self._committer.on_commit}
        self._commands: deque[Callable[[], None]] = deque()
        self._no_room = False
        self._joined = False
        self._status_due_s = 0.0
        self._polled_due_s = 0.0
        self._eager_until_s = 0.0
        self._is_busy = False
        self._intake_stopped = threading.Event()
        self._closing = threading.Event()
        self._consumer: Consumer
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)

    # ── for other threads ────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begins to poll. An unreachable broker is no error: the client keeps trying."""
        self._thread.start()

    def is_current(self, position: Position) -> bool:
        """Whether the message is still ours to act on."""
        return self._assignment.is_current(position)

    def start_work(self, position: Position, token: object) -> None:
        """Commits a marker that the work of a message begins; ``token`` is answered once that is done.

        Also where it cannot be done any more, because the message is settled, or went, or the thread ended; in the
        last case perhaps twice.
        """
        self._commands.append(lambda: self._committer.start(position, token))
        if self._ended:
            self._tell_starts([token], None)

    def resume_work(self, position: Position) -> None:
        """Notes that the work of a message goes on, which began here before the message came again."""
        self._commands.append(lambda: self._committer.resume(position))

    def withdraw(self, position: Position) -> None:
        """Takes `start_work` or `resume_work` back: the work did not begin, nor will it."""
        self._commands.append(lambda: self._committer.withdraw(position))

    def end_work(self, position: Position, ending: Ending) -> None:
        """Notes how the work of a message came to its end; a commit says so soon."""
        self._commands.append(lambda: self._committer.end(position, ending))

    def settle(self, position: Position, settlement: Settlement) -> None:
        """Notes what became of a message."""
        self._commands.append(lambda: self._committer.settle(position, settlement))

    def use_credentials(self, credentials: KafkaCredentials) -> None:
        """From the next time a broker asks, these are given; connections that stand are not disturbed."""
        self._commands.append(lambda: self._use_credentials(credentials))

    def stop_intake(self) -> None:
        """Pauses everything; polling and committing go on."""
        self._intake_stopped.set()

    def close(self, timeout_s: float) -> bool:
        """Enters what was settled, commits, leaves the group; ``False`` if that took longer than ``timeout_s``."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._consumer = self._open_consumer(self._config, logger=logging.getLogger("agent.kafka"))
            try:
                self._poll_until_closing()
                self._leave()
            finally:
                self._committer.give_up()
                self._consumer.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop must hear of it
            self._handoff.fail(SourceLostError(f"the Kafka consumer stopped: {_said(error)}"))
        finally:
            self._ended = True
            self._assignment.revoke(self._assignment.partitions)
            self._apply_commands()  # whoever still asks to begin is told no

    def _poll_until_closing(self) -> None:
        topics = list(dict.fromkeys([self._settings.runs_topic, self._settings.change_log_topic]))
        self._consumer.subscribe(
            topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        while not self._closing.is_set():
            self._apply_commands()
            self._pauses.update(self._consumer, everything=self._no_room or self._intake_stopped.is_set())
            self._committer.commit_if_due(self._consumer)
            self._tell_status_if_due()
            self._take_in(self._fetch())
            if not self._intake_stopped.is_set():  # nobody would take them, and a look-up may take seconds
                self._pass_on()

    def _apply_commands(self) -> None:
        if self._commands:
            self._note_life()
        applied = 0
        while self._commands:
            applied += 1
            try:
                self._commands.popleft()()
            except IllegalTransitionError as error:
                # A defect of ours, and one message's: the ledger is unchanged, so nothing is committed too far.
                self._observer.notify(SourceFailed("ledger", str(error)))
        self._is_busy = applied >= _BUSY_COMMANDS

    def _use_credentials(self, credentials: KafkaCredentials) -> None:
        if not self._ended:
            self._consumer.set_sasl_credentials(credentials.username, credentials.password)

    def _fetch(self) -> list[Message]:
        """Whatever is there, after waiting a little. Fetches nothing while the handoff has no room."""
        wait_s = 0.0 if self._no_room else _ROOM_WAIT_S  # only once: starts wait meanwhile
        self._no_room = self._handoff.full and not self._handoff.wait_for_room(wait_s)
        if self._no_room and not self._pauses.are_complete():
            return []  # pause first: a poll now would fetch more
        first = self._consumer.poll(self._patience_s())
        self._tell_polled()
        if first is None:
            return []
        # `poll` returns at the first record; a `consume` of many would wait its whole time for the last.
        return [first, *self._consumer.consume(_BATCH, 0)]

    def _patience_s(self) -> float:
        """How long a poll may wait: commands are entered between two polls."""
        if self._is_busy:
            return _BUSY_POLL_S
        if self._committer.is_awaited:
            return _EAGER_POLL_S
        if self._assignment.has_open:
            return _EAGER_POLL_S if self._clock.monotonic() < self._eager_until_s else _READY_POLL_S
        return _ROOM_WAIT_S if self._no_room else _POLL_S

    def _note_life(self) -> None:
        self._eager_until_s = self._clock.monotonic() + _EAGER_FOR_S

    def _take_in(self, messages: Iterable[Message]) -> None:
        counts: dict[str, int] = {}
        for message in messages:
            topic = message.topic() or ""
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are spelled so
                    self._watch.note_end(Partition(topic, message.partition() or 0), message.offset() or 0)
                else:
                    self._on_error(error)
                continue
            counts[topic] = counts.get(topic, 0) + 1
            self._fetched.add(message)
        for topic, count in counts.items():
            self._observer.notify(Consumed(topic, count))

    def _pass_on(self) -> None:
        deliveries = []
        now_s = self._clock.monotonic()
        for partition, message in self._fetched.ready(self._consumer):
            offset = message.offset() or 0
            begun = self._assignment.begin(partition, offset)
            if begun is None:
                continue
            self._watch.note_read(partition, offset, now_s)
            is_change = partition.topic == self._settings.change_log_topic
            channel = Channel.CHANGE_LOG if is_change else Channel.RUNS
            origin = f"{partition}@{offset}"
            body = message.value() or b""
            parent = parent_of(message) if self._settings.reads_traceparent else None
            deliveries.append(Delivery(body, begun.position, channel, now_s, origin, begun.earlier, parent))
        if deliveries:
            self._note_life()
            self._handoff.put(deliveries)

    def _start_over(self, partition: Partition, offset: int) -> None:
        """The log was cut, or the topic made anew: what is read from here on may be new, whatever its offset."""
        detail = f"{partition} went back to offset {offset}: its log was cut or made anew, and is read again"
        self._observer.notify(SourceFailed("offset_rewound", detail))
        self._let_go([partition])
        self._assignment.assign([partition])
        self._fetched.expect([partition])

    def _first_end(self, partition: Partition) -> int | None:
        return self._watch.first_end(partition)

    def _leave(self) -> None:
        self._apply_commands()
        self._committer.give_up()
        deadline_s = self._clock.monotonic() + _LAST_COMMIT_S
        # An older commit that the client repeats after the last one would take it back.
        while self._committer.is_unanswered and self._clock.monotonic() < deadline_s:
            self._consumer.poll(_POLL_S)
        while not self._committer.commit_now(self._consumer):
            if self._clock.monotonic() >= deadline_s:
                return
            self._consumer.poll(_POLL_S)  # a coordinator that has just come back wants to be found first

    # ── rebalances (called within poll) ──────────────────────────────────────────────────────────────

    def _on_assign(self, _consumer: Consumer, spelled: list[TopicPartition]) -> None:
        partitions = [partition_of(p) for p in spelled]
        self._forget(partitions)
        self._assignment.assign(partitions)
        self._fetched.expect(partitions)
        self._joined = True
        self._tell_rebalance("assigned", partitions)

    def _on_revoke(self, _consumer: Consumer, spelled: list[TopicPartition]) -> None:
        partitions = [partition_of(p) for p in spelled]
        self._apply_commands()
        self._committer.hand_over(self._consumer, partitions, we_go=self._closing.is_set())
        self._give_up("revoked", partitions)

    def _on_lost(self, _consumer: Consumer, spelled: list[TopicPartition]) -> None:
        # Somebody else has them already: a commit now would be refused, or worse, taken.
        self._joined = False
        self._give_up("lost", [partition_of(p) for p in spelled])

    def _give_up(self, event: str, partitions: list[Partition]) -> None:
        self._assignment.revoke(partitions)
        self._forget(partitions)
        self._tell_rebalance(event, partitions)

    def _forget(self, partitions: list[Partition]) -> None:
        self._fetched.forget(partitions)
        self._let_go(partitions)

    def _let_go(self, partitions: list[Partition]) -> None:
        self._committer.forget(partitions)
        self._pauses.lift(self._consumer, partitions)
        self._watch.forget(partitions)

    def _tell_rebalance(self, event: str, partitions: list[Partition]) -> None:
        self._status_due_s = 0.0
        self._observer.notify(Rebalanced(event, tuple((p.topic, p.index) for p in partitions)))

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────

    def _on_error(self, error: KafkaError) -> None:
        if refuses_credentials(error):
            self._on_refused()
        self._observer.notify(SourceFailed(error.name(), explained(error), fatal=is_fatal(error)))
        if is_fatal(error):
            raise KafkaException(error)

    def _tell_polled(self) -> None:
        now_s = self._clock.monotonic()
        if now_s >= self._polled_due_s:
            self._polled_due_s = now_s + _POLLED_S
            self._observer.notify(Polled(self._clock.epoch()))

    def _tell_status_if_due(self) -> None:
        now_s = self._clock.monotonic()
        if now_s < self._status_due_s:
            return
        self._status_due_s = now_s + _STATUS_INTERVAL_S
        if not self._joined and is_member(self._consumer):
            # A member without partitions gets no callback, but it is a member: an idle stand-by.
            self._joined = True
            self._tell_rebalance("assigned", [])
        if not self._intake_stopped.is_set():  # a look-up may take seconds, which the last commit needs
            self._watch.look_up(self._consumer, now_s)
        for status in self._watch.statuses(self._consumer, now_s):
            self._observer.notify(status)


def _said(error: Exception) -> str:
    return explained(error.args[0]) if isinstance(error, KafkaException) else str(error)
