"""Routes that can never be reached."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.invocation import InvocationKind
from agent.domain.route import Match, Route, RoutingTable
from agent.routing.shadowing import Rule, shadowed
from tests.routing.helpers import invocation

EVERYTHING = Match()


@pytest.mark.parametrize(
    ("earlier", "later", "is_shadowed"),
    [
        (Match(actions=("a",)), Match(actions=("a",)), True),
        (Match(actions=("a", "b")), Match(actions=("b",)), True),
        (Match(actions=("a",)), Match(actions=("a", "b")), False),
        (Match(actions=("a*",)), Match(actions=("ab", "ac")), True),
        (Match(actions=("a*",)), Match(actions=("a*",)), True),
        (Match(actions=("a*",)), Match(actions=("ab*",)), False),
        (Match(actions=("a",)), Match(actions=("a",), blueprints=("b",)), True),
        (Match(actions=("a",), blueprints=("b",)), Match(actions=("a",)), False),
        (Match(kinds=("node_run",)), Match(actions=("a",)), False),
        (Match(kinds=("node_run",)), Match(actions=("a",), kinds=("node_run",)), True),
        (Match(actions=("*",)), EVERYTHING, False),
        (EVERYTHING, Match(actions=("a",), types=("KAFKA",)), True),
        (Match(types=("KAFKA",)), Match(types=("GITLAB",)), False),
    ],
)
def test_one_route_before_another(earlier: Match, later: Match, is_shadowed: bool) -> None:  # noqa: FBT001 - a table
    expected = [(1, 0)] if is_shadowed else []
    assert list(shadowed([Rule(earlier, None), Rule(later, None)])) == expected
    assert list(shadowed([Rule(earlier, ".a"), Rule(later, ".a")])) == expected
    assert list(shadowed([Rule(earlier, None), Rule(later, ".a")])) == expected
    assert list(shadowed([Rule(earlier, ".a"), Rule(later, ".b")])) == []
    assert list(shadowed([Rule(earlier, ".a"), Rule(later, None)])) == []


PATTERNS = st.lists(st.sampled_from(["a", "b", "ab", "a*", "*", "?b", "[ab]"]), max_size=2).map(tuple)
MATCHES = st.builds(Match, actions=PATTERNS, blueprints=PATTERNS)


@given(st.lists(MATCHES, min_size=1, max_size=5))
def test_a_route_that_is_told_to_be_unreachable_is_never_chosen(matches: list[Match]) -> None:
    table = RoutingTable([Route(str(i), match, "http") for i, match in enumerate(matches)])
    told = dict(shadowed([Rule(match, None) for match in matches]))
    for action in ("a", "b", "ab", "abc", None):
        for blueprint in ("a", "b", "ab", None):
            chosen = table.resolve(invocation(action, blueprint=blueprint, kind=InvocationKind.ACTION_RUN))
            if isinstance(chosen, Route):
                assert int(chosen.name) not in told
    for later, earlier in told.items():
        assert earlier < later
        assert all(
            any(fnmatchcase(action, p) or action == p for p in matches[earlier].actions)
            for action in matches[later].actions
            if matches[earlier].actions and action.isalpha()
        )
