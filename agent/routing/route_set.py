"""The routes in force, each with the executor that was prepared for it."""

from __future__ import annotations

from collections.abc import Sequence

from agent.domain.errors import Problem
from agent.domain.invocation import Invocation
from agent.domain.route import Route, RoutingTable, Unrouted, Verdict
from agent.ports import Executor, Routed


class RouteSet:
    """Implements `agent.ports.Router`. Immutable: a reload makes a new one, and old runs keep the old.

    ``warnings`` are of the file that they were read from, which is in force all the same.
    """

    def __init__(self, routes: Sequence[Routed], warnings: Sequence[Problem] = ()) -> None:
        self.warnings = tuple(warnings)
        self._table = RoutingTable([routed.route for routed in routes])
        self._executors = {routed.route.name: routed.executor for routed in routes}

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes in the order in which they are tried."""
        return self._table.routes

    def executor(self, name: str) -> Executor:
        """The executor of the route called ``name``. ``KeyError`` if there is none."""
        return self._executors[name]

    def resolve(self, invocation: Invocation) -> Routed | Unrouted:
        """The first route that matches, with its executor."""
        route = self._table.resolve(invocation)
        return route if isinstance(route, Unrouted) else Routed(route, self._executors[route.name])

    def explain(self, invocation: Invocation) -> list[Verdict]:
        """Why each route does or does not match, in order, up to and including the first that does."""
        return self._table.explain(invocation)
