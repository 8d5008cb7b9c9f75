"""Which commit lets which start begin."""

from __future__ import annotations

from agent.delivery.positions import Commit, Partition, Position
from agent.kafka.start_markers import StartMarkers

UNTIL_S = 7.0
P0, P1 = Partition("runs", 0), Partition("runs", 1)


class Told:
    """Hears the answers, each token once."""

    def __init__(self) -> None:
        self.answers: dict[object, bool] = {}

    def __call__(self, tokens: list[object], until_s: float | None) -> None:
        assert tokens
        assert not self.answers.keys() & set(tokens), "a start was answered twice"
        assert until_s in (None, UNTIL_S)
        self.answers.update(dict.fromkeys(tokens, until_s is not None))


def at(partition: Partition, offset: int, epoch: int = 1) -> Position:
    return Position(partition, offset, epoch)


def test_only_what_waited_as_the_commit_was_made_may_begin() -> None:
    told = Told()
    markers = StartMarkers(told)
    markers.add(at(P0, 0), "first")
    markers.add(at(P0, 1), "second")
    markers.sent({P0: Commit(0, "both")})
    markers.add(at(P0, 2), "late")
    markers.taken({P0: Commit(0, "both")}, UNTIL_S)
    assert told.answers == {"first": True, "second": True}
    assert markers.partitions == (P0,)
    markers.sent({P0: Commit(0, "all")})
    markers.taken({P0: Commit(0, "all")}, UNTIL_S)
    assert told.answers == {"first": True, "second": True, "late": True}
    assert not markers.partitions


def test_the_answer_to_an_older_commit_says_nothing() -> None:
    told = Told()
    markers = StartMarkers(told)
    markers.sent({P0: Commit(0, "older")})
    markers.add(at(P0, 0), "first")
    markers.sent({P0: Commit(0, "newer")})
    markers.taken({P0: Commit(0, "older")}, UNTIL_S)
    assert told.answers == {}
    markers.taken({P0: Commit(0, "newer")}, UNTIL_S)
    assert told.answers == {"first": True}


def test_a_commit_counts_once_and_for_its_own_partition() -> None:
    told = Told()
    markers = StartMarkers(told)
    markers.add(at(P0, 0), "here")
    markers.add(at(P1, 0), "there")
    markers.sent({P0: Commit(0, "here")})
    markers.taken({P1: Commit(0, "here")}, UNTIL_S)
    assert told.answers == {}
    markers.taken({P0: Commit(0, "here")}, UNTIL_S)
    markers.add(at(P0, 1), "late")
    markers.taken({P0: Commit(0, "here")}, UNTIL_S)
    assert told.answers == {"here": True}


def test_a_start_that_is_withdrawn_is_answered_no_and_only_then() -> None:
    told = Told()
    markers = StartMarkers(told)
    markers.add(at(P0, 0), "first")
    markers.sent({P0: Commit(0, "first")})
    markers.withdraw(at(P0, 0, epoch=2))
    assert told.answers == {}
    markers.withdraw(at(P0, 0))
    markers.withdraw(at(P0, 0))
    assert not markers.partitions
    markers.taken({P0: Commit(0, "first")}, UNTIL_S)
    assert told.answers == {"first": False}


def test_what_is_given_up_never_begins_whatever_is_answered_later() -> None:
    told = Told()
    markers = StartMarkers(told)
    markers.add(at(P0, 0), "here")
    markers.add(at(P1, 0), "there")
    markers.sent({P0: Commit(0, "here"), P1: Commit(0, "there")})
    assert markers.give_up([P0]) == [at(P0, 0)]
    assert markers.give_up([P0]) == []
    markers.add(at(P0, 0, epoch=2), "again")
    markers.taken({P0: Commit(0, "here"), P1: Commit(0, "there")}, UNTIL_S)
    assert told.answers == {"here": False, "there": True}
    assert markers.give_up([P0, P1]) == [at(P0, 0, epoch=2)]
    assert told.answers["again"] is False
