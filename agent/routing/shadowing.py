"""Finds routes that no message can reach, because an earlier one takes everything that they match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from agent.domain.route import Match


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route matches, with its condition as it is written (``None``: no condition)."""

    match: Match
    condition: str | None


def shadowed(rules: Sequence[Rule]) -> Iterator[tuple[int, int]]:
    """Pairs of indices: a route that is never reached, and the earliest one that takes all of its messages.

    Conditions count as different unless they are written alike.
    """
    by_action: dict[str, list[int]] = {}
    wide: list[int] = []
    for index, rule in enumerate(rules):
        named = by_action.get(rule.match.actions[0], []) if rule.match.actions else []
        for earlier in sorted({*wide, *named}):
            if _covers(rules[earlier], rule):
                yield index, earlier
                break
        exact = [action for action in rule.match.actions if not _is_glob(action)]
        for action in exact:
            by_action.setdefault(action, []).append(index)
        if len(exact) < len(rule.match.actions) or not exact:
            wide.append(index)


def _covers(earlier: Rule, later: Rule) -> bool:
    if earlier.condition is not None and earlier.condition != later.condition:
        return False
    return all(
        _all_match(patterns, others)
        for patterns, others in (
            (earlier.match.actions, later.match.actions),
            (earlier.match.blueprints, later.match.blueprints),
            (earlier.match.types, later.match.types),
            (earlier.match.kinds, later.match.kinds),
        )
    )


def _all_match(patterns: Sequence[str], others: Sequence[str]) -> bool:
    """Whether ``patterns`` surely match whatever ``others`` match; none means that everything matches."""
    if not patterns:
        return True
    return bool(others) and all(
        any(pattern == other or (not _is_glob(other) and fnmatchcase(other, pattern)) for pattern in patterns)
        for other in others
    )


def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")
