"""The targets of `make fuzz` in a few seconds: they hold for inputs that are always the same, and they can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from agent.delivery import offset_map
from agent.domain.redaction import Redactor
from agent.executors import outputs
from agent.intake.signature import SignatureVerifier
from agent.routing import expressions, templates
from tests.fuzz.choices import Choices
from tests.fuzz.mutation import mutated_bytes
from tests.fuzz.target import NAMES, Target, load, within

INPUTS = {
    "decoder": 400,
    "templates": 1000,
    "expressions": 150,
    "offset_map": 300,
    "redaction": 1000,
    "outputs": 1000,
}
SEED = 3


@pytest.fixture(scope="module")
def targets() -> dict[str, Target]:
    return {name: load(name) for name in NAMES}


def neighbours(target: Target, count: int) -> Iterator[bytes]:
    """Inputs near the seeds, near those, and so on, with no look at coverage: always the same ones."""
    chance = Random(SEED)  # noqa: S311 - no secrets
    pool = list(target.seeds)
    for _ in range(count):
        source = chance.choice(pool)
        made = target.mutate(source, chance) if chance.random() < 0.7 else mutated_bytes(source, chance)
        pool.append(made[: target.max_bytes])
        yield pool[-1]


def tried(target: Target, name: str) -> None:
    """Every input of the short run."""
    for source in (*target.seeds, *neighbours(target, INPUTS[name])):
        try:
            target.check(source)
        except BaseException as error:
            error.add_note(f"{name}: {source!r}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_a_target_holds_for_its_seeds_and_their_neighbours(name: str, targets: dict[str, Target]) -> None:
    tried(targets[name], name)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_makes_the_same_neighbours_again(name: str, targets: dict[str, Target]) -> None:
    made = list(neighbours(targets[name], 50))
    assert made == list(neighbours(targets[name], 50))
    assert len(set(made)) > 30
    assert max(map(len, made)) <= targets[name].max_bytes


def believes_all(*_: Any) -> None:
    return None


def ends_at_the_first_braces(text: str, start: int) -> int | None:
    found = text.find("}}", start)
    return found if found >= 0 else None


def repeats_jq(message: str, source: str) -> str:  # noqa: ARG001 - as the one it stands for
    return message


def same_for_all(*_: Any) -> bytes:
    return bytes(4)


def holds_nothing_back(*_: Any) -> int:
    return 0


def splits_at_equals_only(head: bytes) -> tuple[bytes, bytes, bytes]:
    return head.partition(b"=")


@pytest.mark.parametrize(
    ("name", "place", "attribute", "defect"),
    [
        ("decoder", SignatureVerifier, "check", believes_all),
        ("templates", templates, "_closing", ends_at_the_first_braces),
        ("expressions", expressions, "without_values", repeats_jq),
        ("offset_map", offset_map, "_checksum", same_for_all),
        ("redaction", Redactor, "_held", holds_nothing_back),
        ("outputs", outputs, "_split", splits_at_equals_only),
    ],
)
def test_a_target_notices_a_defect(
    name: str,
    place: object,
    attribute: str,
    defect: Callable[..., Any],
    targets: dict[str, Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, attribute, defect)
    with pytest.raises(AssertionError):
        tried(targets[name], name)


def test_what_takes_too_long_is_noticed() -> None:
    with pytest.raises(AssertionError, match="took "):
        within(0.001, lambda: sum(range(300_000)))
    assert within(10, lambda: 7) == 7


def test_choices_end_with_the_smallest() -> None:
    choices = Choices(b"\x05\xff")
    assert choices.number(0, 9) == 5
    assert choices.one_of("abc") == "a"
    assert not choices
    assert (choices.number(3, 300), choices.flag(), choices.rest()) == (3, False, b"")
