from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.errors import TemplateError, UnevaluatedError
from agent.domain.invocation import Invocation, InvocationKind, InvocationMethod, RunId, Trigger, View
from agent.domain.json import Json
from agent.domain.route import Match, Route, RoutingTable, Unrouted, Verdict


class Fixed:
    """A template that gives one value, or fails."""

    def __init__(self, value: Json | TemplateError) -> None:
        self.value = value

    def render(self, view: View) -> Json:
        assert isinstance(view.value, Mapping)
        if isinstance(self.value, TemplateError):
            raise self.value
        return self.value


def invocation(
    action: str | None = "deploy",
    blueprint: str | None = "service",
    kind: InvocationKind = InvocationKind.ACTION_RUN,
    method: str = "KAFKA",
) -> Invocation:
    return Invocation(
        kind, RunId("r_1"), action, blueprint, Trigger(), None, None, {}, InvocationMethod(type=method), {}
    )


def route(name: str, *actions: str, when: Json | TemplateError = None, blueprints: tuple[str, ...] = ()) -> Route:
    condition = Fixed(when) if when is not None else None
    return Route(name, Match(actions=actions, blueprints=blueprints, when=condition), "http")


def chosen(table: RoutingTable, message: Invocation) -> str | None:
    found = table.resolve(message)
    return found.name if isinstance(found, Route) else None


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (Match(), None),
        (Match(actions=("deploy",), blueprints=("service",), types=("KAFKA",), kinds=("action_run",)), None),
        (Match(actions=("other", "dep*")), None),
        (Match(actions=("Deploy",)), "action is 'deploy', not 'Deploy'"),
        (Match(actions=("a", "b?")), "action is 'deploy', not 'a' or 'b?'"),
        (Match(blueprints=("s",)), "blueprint is 'service', not 's'"),
        (Match(types=("WEBHOOK",)), "type is 'KAFKA', not 'WEBHOOK'"),
        (Match(kinds=("node_run",), actions=("x",)), "kind is 'action_run', not 'node_run'"),
        (Match(when=Fixed(value=True)), None),
        (Match(when=Fixed(value=False)), "`when` gave false, not true"),
        (Match(when=Fixed(None)), "`when` gave null, not true"),
        (Match(when=Fixed(1)), "`when` gave a value that is no boolean, not true"),
        (Match(when=Fixed("s3cret")), "`when` gave a value that is no boolean, not true"),
    ],
)
def test_why_a_route_does_not_match(match: Match, reason: str | None) -> None:
    assert match.explain(invocation()) == reason


def test_a_message_without_an_action_matches_no_pattern_at_all() -> None:
    assert Match(actions=("*",)).explain(invocation(None)) == "it has no action, not '*'"
    assert Match(blueprints=("*",)).explain(invocation(blueprint=None)) == "it has no blueprint, not '*'"


def test_a_name_that_looks_like_a_glob_matches_itself() -> None:
    assert Match(actions=("a[1]",)).explain(invocation("a[1]")) is None


def test_the_first_match_wins_whether_exact_or_not() -> None:
    table = RoutingTable([route("glob", "dep*", blueprints=("x",)), route("exact", "deploy"), route("all")])
    assert chosen(table, invocation()) == "exact"
    assert chosen(table, invocation(blueprint="x")) == "glob"
    assert chosen(table, invocation("other")) == "all"
    assert chosen(table, invocation(None)) == "all"
    assert [r.name for r in table.routes] == ["glob", "exact", "all"]


PATTERNS = st.lists(st.sampled_from(["a", "b", "ab", "a*", "?", "*"]), max_size=3).map(tuple)


@given(st.lists(PATTERNS, max_size=6), st.sampled_from(["a", "b", "ab", "c", "", None]))
def test_the_index_finds_what_a_walk_over_all_routes_finds(
    patterns: list[tuple[str, ...]], action: str | None
) -> None:
    routes = [route(f"r{i}", *actions) for i, actions in enumerate(patterns)]
    walked = next((r.name for r in routes if r.match.explain(invocation(action)) is None), None)
    assert chosen(RoutingTable(routes), invocation(action)) == walked


def test_a_condition_that_fails_is_no_match_and_stands_in_the_reason() -> None:
    broken = TemplateError("routes[0].match.when: `.a.b`: Cannot index string with string")
    table = RoutingTable([route("first", "deploy", when=broken), route("second", "deploy", when=False)])
    found = table.resolve(invocation())
    assert isinstance(found, Unrouted)
    assert found.reason == (
        "no route matched action 'deploy' on blueprint 'service'; the nearest route is 'first': `when` failed: "
        f"{broken}; route first: `when` failed: {broken}"
    )
    assert found.failed
    assert found.undecided is False


def test_conditions_that_are_false_have_not_failed() -> None:
    found = RoutingTable([route("second", "deploy", when=False)]).resolve(invocation())
    assert isinstance(found, Unrouted)
    assert not found.failed


def test_a_condition_that_ran_out_of_time_ends_the_search() -> None:
    late = UnevaluatedError("routes[1].match.when: `[repeat(1)]`: took longer than 1 s")
    table = RoutingTable(
        [route("no", "deploy", when=False), route("slow", "deploy", when=late), route("catch-all")]
    )
    assert table.resolve(invocation()) == Unrouted(
        f"whether route 'slow' matches is not known, and no later one was tried: `when` was not evaluated: {late}",
        "slow",
        undecided=True,
    )
    assert table.explain(invocation()) == [
        Verdict("no", "`when` gave false, not true"),
        Verdict("slow", f"`when` was not evaluated: {late}", undecided=True),
    ]
    assert chosen(table, invocation("other")) == "catch-all"


def test_a_condition_that_fails_leaves_the_message_to_later_routes() -> None:
    table = RoutingTable([route("first", "deploy", when=TemplateError("no")), route("catch-all")])
    assert chosen(table, invocation()) == "catch-all"


def test_the_nearest_route_is_told_by_its_actions_or_its_name() -> None:
    table = RoutingTable([route("x", "deploy_service"), route("restart", "r9")])
    assert table.resolve(invocation("deploy_servce", None)) == Unrouted(
        "no route matched action 'deploy_servce'; the nearest route is 'x': action is 'deploy_servce', not "
        "'deploy_service'",
        "x",
    )
    assert table.resolve(invocation("restrt", None)) == Unrouted(
        "no route matched action 'restrt'; the nearest route is 'restart': action is 'restrt', not 'r9'", "restart"
    )
    assert table.resolve(invocation("zzz", None)) == Unrouted("no route matched action 'zzz'", None)
    assert table.resolve(invocation(None, "b")) == Unrouted(
        "no route matched a message without an action's name on blueprint 'b'", None
    )
    assert RoutingTable([]).resolve(invocation(None, None)) == Unrouted(
        "no route matched a message without an action's name", None
    )


def test_a_nearest_route_that_matches_a_moment_later_is_told_as_such() -> None:
    class Flickering:
        def __init__(self) -> None:
            self.calls = 0

        def render(self, view: View) -> Json:  # noqa: ARG002 - whatever the message
            self.calls += 1
            return self.calls > 1

    table = RoutingTable([Route("a", Match(actions=("deploy",), when=Flickering()), "http")])
    found = table.resolve(invocation())
    assert isinstance(found, Unrouted)
    assert found.reason.endswith("the nearest route is 'a': it matches now")


def test_an_explanation_goes_up_to_the_first_match() -> None:
    table = RoutingTable([route("a", "x"), route("b", when=TemplateError("p: no")), route("c"), route("d")])
    assert table.explain(invocation()) == [
        Verdict("a", "action is 'deploy', not 'x'"),
        Verdict("b", "`when` failed: p: no"),
        Verdict("c", None),
    ]
    assert RoutingTable([route("a", "x")]).explain(invocation()) == [Verdict("a", "action is 'deploy', not 'x'")]


def test_a_change_event_matches_only_a_route_that_names_its_kind() -> None:
    event = invocation("UPDATE", "microservice", InvocationKind.CHANGE_EVENT)
    for match in (Match(), Match(blueprints=("microservice",)), Match(actions=("*",))):
        reason = match.explain(event)
        assert reason == "it is a change_event, which only a route with `kind: change_event` takes"
    assert Match(kinds=("change_event",), blueprints=("microservice",)).explain(event) is None
