"""An agent that dies as by ``kill -9`` at one point of the first run that reaches it, or stands still there.

``python -m tests.faults.dying_agent POINT run`` is ``python -m agent run`` with one method wrapped from outside.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from confluent_kafka import TopicPartition

from agent.__main__ import main
from agent.delivery.offset_map import OffsetMap
from agent.dispatch.admission import Admission
from agent.executors.child import Child
from agent.kafka.committer import Committer
from agent.kafka.fetched import Fetched
from agent.kafka.source import KafkaSource
from agent.kafka.start_markers import Tell
from agent.runs_api.journal_file import JournalFile
from agent.runs_api.run_report import PortRunReport


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives SIGKILL")


def _before(owner: object, name: str, applies: Callable[..., bool] = lambda *_: True) -> None:
    wrapped = getattr(owner, name)

    @functools.wraps(wrapped)
    def dying(*args: Any, **kwargs: Any) -> Any:
        if applies(*args):
            _die()
        return wrapped(*args, **kwargs)

    setattr(owner, name, dying)


def _after(owner: object, name: str, applies: Callable[..., bool] = lambda *_: True) -> None:
    wrapped = getattr(owner, name)

    @functools.wraps(wrapped)
    def dying(*args: Any, **kwargs: Any) -> Any:
        done = wrapped(*args, **kwargs)
        return _die() if applies(*args) else done

    setattr(owner, name, dying)


def _after_awaiting(owner: object, name: str) -> None:
    wrapped = getattr(owner, name)

    @functools.wraps(wrapped)
    async def dying(*args: Any, **kwargs: Any) -> Any:
        await wrapped(*args, **kwargs)
        _die()

    setattr(owner, name, dying)


def _keeps(_file: JournalFile, puts: list[object], *_: object) -> bool:
    return bool(puts)


class _Standstill:
    """Stops the process as by SIGSTOP, once."""

    def __init__(self) -> None:
        self._was = False

    def at_a_marker(self, committer: Committer, *_: object) -> bool:
        """If this is the answer to a commit that carries one; nobody dies of that."""
        if not self._was and any(positions for _, positions in committer._markers._sent.values()):
            self._was = True
            # to this thread, which then stands still here and not a little later
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return False


class _Settled:
    """Whether anything was settled yet: the commits before that only say what was begun."""

    def __init__(self) -> None:
        self._is_so = False

    def note(self, *_: object) -> bool:
        """It is, from now on; nobody dies of that."""
        self._is_so = True
        return False

    def is_told_by(self, _committer: Committer, _error: object, answers: list[TopicPartition]) -> bool:
        return self._is_so and any(answer.error is None for answer in answers)


def _at_the_answer() -> None:
    """The broker has taken a marker, and the run is about to be told that it may begin."""
    answering = KafkaSource._answering

    def dying(self: KafkaSource) -> Tell:
        tell = answering(self)
        return lambda tokens, until_s: tell(tokens, None) if until_s is None else _die()

    KafkaSource._answering = dying  # type: ignore[method-assign]


def _tells_an_end(_committer: Committer, _error: object, answers: list[TopicPartition]) -> bool:
    """Whether the broker has taken word of work that ended and that Port does not know of."""
    maps = (OffsetMap.decode(answer.metadata or "", answer.offset) for answer in answers if answer.error is None)
    return any(note.ended for known in maps if known is not None for note in known.notes.values())


def _after_commit() -> None:
    settled = _Settled()
    _after(Committer, "settle", settled.note)
    _after(Committer, "on_commit", settled.is_told_by)


POINTS: Mapping[str, Callable[[], None]] = {
    "polled": lambda: _after(Fetched, "add"),
    "queued": lambda: _after(Admission, "offer"),
    "marker-unsent": lambda: _before(Committer, "_note_sent", lambda committer, _: committer.is_awaited),
    "marker-taken": _at_the_answer,
    "child-started": lambda: _after(Child, "__init__"),
    "child-exited": lambda: _after_awaiting(Child, "ended"),
    "outcome-kept": lambda: _after(JournalFile, "write", _keeps),
    "end-committed": lambda: _after(Committer, "on_commit", _tells_an_end),
    "status-accepted": lambda: _after_awaiting(PortRunReport, "finish"),
    "before-commit": lambda: _after(Committer, "settle"),
    "after-commit": _after_commit,
}
"""Where it may die, in the order in which a run gets there."""

ANSWERED_LATE = "answered-late"
"""Here it does not die, but stops as by SIGSTOP: the broker has taken a start marker, and nobody has read that."""

_PLACES: Mapping[str, Callable[[], None]] = {
    **POINTS,
    ANSWERED_LATE: lambda: _before(Committer, "on_commit", _Standstill().at_a_marker),
}

if __name__ == "__main__":
    _PLACES[sys.argv.pop(1)]()
    main()
