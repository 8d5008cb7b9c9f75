"""Commits: when they are sent, what the broker took of them, and whose work may begin because of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agent.delivery.assignment import Assignment
from agent.delivery.commit_policy import CommitPolicy, CommitState
from agent.delivery.ledger import IllegalTransitionError
from agent.delivery.positions import Commit, Partition, Position
from agent.domain.earlier import Ending
from agent.domain.events import Committed
from agent.domain.settlement import Settlement
from agent.kafka.client import partition_of, passes_soon, topic_partitions
from agent.kafka.start_markers import StartMarkers, Tell
from agent.ports import Clock, Observer

_LAST_TRIES_S = 2.0
_LAST_TRIES_AS_WE_GO_S = 0.5
"""The last commit was tried for seconds before, and the agent's end has a time of its own."""
_TRY_AGAIN_S = 0.1


class Committer:
    """Commits what the ledgers allow. Belongs to the consumer's thread, which lends it the client.

    ``tell_starts`` is told which starts may begin: those whose marker the broker has taken, until
    ``believed_for_s`` after that commit was sent. An answer that is read later counts for none, and the commit is
    sent again: we stood still, and the group may have given our partitions to others, who have read that marker.
    ``wait`` is given seconds to pass.
    """

    def __init__(
        self,
        assignment: Assignment,
        policy: CommitPolicy,
        observer: Observer,
        clock: Clock,
        tell_starts: Tell,
        *,
        believed_for_s: float,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._assignment = assignment
        self._observer = observer
        self._clock = clock
        self._tell_starts = tell_starts
        self._believed_for_s = believed_for_s
        self._wait = wait
        self._state = CommitState(policy)
        self._markers = StartMarkers(tell_starts)
        self._has_news = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody's work waits for a commit."""
        return bool(self._markers.partitions)

    @property
    def is_unanswered(self) -> bool:
        """Whether a commit is on its way: one that is sent now may reach the broker before it."""
        return self._state.is_unanswered

    def start(self, position: Position, token: object) -> None:
        """Marks the work of a message as begun; ``token`` is told once that is committed, or cannot be.

        Raises `IllegalTransitionError`, as the others do, for what the ledger does not allow.
        """
        if not self._assignment.is_current(position):
            self._tell_starts([token], None)
            return
        try:
            self._assignment.start(position)
        except IllegalTransitionError:
            self._tell_starts([token], None)
            raise
        self._markers.add(position, token)

    def resume(self, position: Position) -> None:
        """Notes that work goes on which began here before its message came again; nobody waits for that."""
        self._assignment.resume(position)
        self._has_news = True

    def withdraw(self, position: Position) -> None:
        """Takes `start` or `resume` back."""
        self._markers.withdraw(position)
        self._assignment.withdraw(position)

    def end(self, position: Position, ending: Ending) -> None:
        """Notes how the work of a message came to its end; sent soon, for until then a crash would count as one.

        A start of it that still waits has no point any more.
        """
        self._markers.withdraw(position)
        self._assignment.end(position, ending)
        self._has_news = True

    def settle(self, position: Position, settlement: Settlement) -> None:
        """Notes what became of a message; a start of it that still waits has no point any more."""
        self._markers.withdraw(position)
        self._assignment.settle(position, settlement)

    def commit_if_due(self, consumer: Consumer) -> None:
        """Sends what has changed, if it is time; the answer comes by `on_commit`.

        Where a start waits that is done also without a change: the marker may be in a commit that is long ago.
        """
        now_s = self._clock.monotonic()
        if not self._state.is_time(now_s, urgent=self.is_awaited or self._has_news):
            return
        self._has_news = False
        all_commits = self._assignment.commits()
        awaited = {p: all_commits[p] for p in self._markers.partitions}
        commits = {**self._state.changed(all_commits), **awaited}
        if not commits:
            return
        self._note_sent(commits)
        try:
            consumer.commit(offsets=topic_partitions(commits), asynchronous=True)
        except KafkaException as error:
            self._note_refused(error.args[0])

    def commit_now(self, consumer: Consumer) -> bool:
        """Commits all and waits for the answer; ``False`` if not all was taken."""
        return self._commit_and_wait(consumer, self._assignment.commits()) is None

    def hand_over(self, consumer: Consumer, partitions: Iterable[Partition], *, we_go: bool) -> None:
        """The last commit of ``partitions``, which then are ours no more; a refusal is told, and runs come again.

        One that should pass is tried again, and no more once about two seconds are over (less if ``we_go``): while
        this goes on, nobody else has them.
        What has begun goes on here, unless ``we_go`` as well: then it is interrupted. What has not begun is the
        next owner's to begin, and must not look interrupted.
        """
        partitions = list(partitions)
        self._give_up(partitions)
        if we_go:
            commits = {p: commit for p, commit in self._assignment.commits().items() if p in partitions}
        else:
            commits = dict(self._assignment.commits_handing_over(partitions))
        self._assignment.revoke(partitions)  # from here on nothing begins that the next owner begins as well
        deadline_s = self._clock.monotonic() + (_LAST_TRIES_AS_WE_GO_S if we_go else _LAST_TRIES_S)
        while (refusal := self._commit_and_wait(consumer, commits)) is not None and passes_soon(refusal):
            if self._clock.monotonic() >= deadline_s:
                return
            self._wait(_TRY_AGAIN_S)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` went, or start anew: no start that waits there will ever begin."""
        partitions = list(partitions)
        self._markers.give_up(partitions)
        self._state.forget(partitions)

    def give_up(self) -> None:
        """The consumer goes: no start that waits will ever begin."""
        self._give_up(self._assignment.partitions)

    def on_commit(self, error: KafkaError | None, answers: list[TopicPartition]) -> None:
        """What the broker took, partition by partition; it may be the answer to an earlier commit."""
        until_s = self._state.answered(_said(answers)) + self._believed_for_s
        if error is None and self._clock.monotonic() >= until_s:
            error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - librdkafka's own error codes are spelled so
        taken = _said(answer for answer in answers if error is None and answer.error is None)
        self._state.ended(taken)
        self._markers.taken(taken, until_s)
        failed = error or next((a.error for a in answers if a.error is not None), None)
        if failed is not None:
            self._state.ended({})  # what was refused is sent again after a while, though the rest was taken
        self._observer.notify(Committed("ok" if failed is None else failed.name()))

    def _note_refused(self, error: KafkaError) -> None:
        """The client did not even send it, or did not wait for its answer."""
        self._state.unsent()
        self._state.ended({})
        self._observer.notify(Committed(error.name()))

    def _commit_and_wait(self, consumer: Consumer, commits: Mapping[Partition, Commit]) -> KafkaError | None:
        """Why not all was taken."""
        commits = self._state.changed(commits)
        if not commits:
            return None
        self._note_sent(commits)
        try:
            answers = consumer.commit(offsets=topic_partitions(commits), asynchronous=False) or []
        except KafkaException as error:
            refusal: KafkaError = error.args[0]
            self._note_refused(refusal)
            return refusal
        self.on_commit(None, answers)
        return next((answer.error for answer in answers if answer.error is not None), None)

    def _give_up(self, partitions: Iterable[Partition]) -> None:
        """Raises nothing: what came of it within a rebalance would end the consumer."""
        for position in self._markers.give_up(partitions):
            with suppress(IllegalTransitionError):  # what is no start any more needs no withdrawal
                self._assignment.withdraw(position)

    def _note_sent(self, commits: Mapping[Partition, Commit]) -> None:
        self._state.began(self._clock.monotonic(), commits)
        self._markers.sent(commits)


def _said(answers: Iterable[TopicPartition]) -> dict[Partition, Commit]:
    return {partition_of(answer): Commit(answer.offset, answer.metadata or "") for answer in answers}
