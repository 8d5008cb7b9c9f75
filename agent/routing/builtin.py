"""The routes where there is no file: whatever Port addresses to an agent as a webhook is forwarded as it is."""

from __future__ import annotations

from agent.domain.invocation import InvocationKind, View
from agent.domain.json import as_flag, as_object
from agent.domain.route import Match, Route
from agent.ports import Executors, Routed, TemplateCompiler
from agent.routing.route_set import RouteSet

ROUTE_NAME = "forward-webhooks"


class AddressedToAgent:
    """A condition: the invocation method says ``agent: true``."""

    def render(self, view: View) -> bool:
        """Whether the message is for agents."""
        method = as_object(as_object(view.value.get("action")).get("invocationMethod"))
        return as_flag(method.get("agent"))


def builtin_routes(executors: Executors, templates: TemplateCompiler, timeout_s: float) -> RouteSet:
    """One route: WEBHOOK messages for agents go to the ``http`` executor with its defaults.

    Action runs and workflow node runs; change events have no run to report and no target to be called.
    """
    kinds = (str(InvocationKind.ACTION_RUN), str(InvocationKind.NODE_RUN))
    match = Match(types=("WEBHOOK",), kinds=kinds, when=AddressedToAgent())
    route = Route(ROUTE_NAME, match, "http", timeout_s=timeout_s, where="built in")
    return RouteSet([Routed(route, executors.prepare("http", {}, "built-in route", templates))])
