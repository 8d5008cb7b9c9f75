"""The routes where there is no file: what Port's own agent does with the mapping file that comes with it."""

from __future__ import annotations

from dataclasses import replace

from agent.domain.json import Json, JsonObject, compact
from agent.domain.route import Match, ReportRule, Route
from agent.ports import Routed
from agent.routing.mapping import ANY_KIND, Addressed, MappingReader
from agent.routing.route_set import RouteSet
from agent.routing.templates import Constant

WEBHOOK_ROUTE = "forward-webhooks"
GITLAB_ROUTE = "trigger-gitlab-pipelines"

_WHERE = "built in"
_METHOD = ".payload.action.invocationMethod"
_GITLAB: JsonObject = {
    "url": '(env.GITLAB_URL // "" | if . == "" then "https://gitlab.com" else rtrimstr("/") end) as $base | '
    f'({_METHOD} | .groupName + "/" + .projectName | @uri) as $project | '
    '$base + "/api/v4/projects/" + $project + "/trigger/pipeline"',
    "body": {
        "ref": f'.payload.properties.ref // {_METHOD}.defaultRef // "main"',
        "token": f'{_METHOD} | env[(.groupName | gsub("/"; "_")) + "_" + .projectName] // '
        'error("the agent has no variable GROUP_PROJECT with a trigger token for this project")',
        "variables": f"if {_METHOD}.omitUserInputs then {{}} else "
        ".payload.properties | to_entries | map({(.key): (.value | tostring)}) | add end",
        "port_payload": f"if {_METHOD}.omitPayload then {{}} else . end",
    },
    "report": {"link": ".response.json.web_url", "externalRunId": ".response.json.id // empty | tostring"},
}
"""A mapping that triggers the project's pipeline, which reports the end of the run itself."""
_FORWARD: JsonObject = {"body_format": "json"}
"""The http executor's own defaults: the message, with the action's headers, to the URL that it names."""


def builtin_routes(mappings: MappingReader) -> RouteSet:
    """Two routes for all that Port addresses to an agent: GitLab's pipelines, and everything else as webhooks.

    Change events as well, which go to the URL of their destination.
    """
    for_agents = Addressed(Constant(True))
    gitlab_alone: Json = [_GITLAB]
    read = mappings.parse(compact(gitlab_alone).encode(), _WHERE)
    gitlab = replace(
        read.routes[0],
        name=GITLAB_ROUTE,
        match=Match(types=("GITLAB",), kinds=ANY_KIND, when=for_agents),
        where=_WHERE,
    )
    forward = Route(
        WEBHOOK_ROUTE,
        Match(kinds=ANY_KIND, when=for_agents),
        "http",
        _FORWARD,
        timeout_s=mappings.default_timeout_s,
        report=ReportRule(refusal=mappings.refusal),
        where=_WHERE,
    )
    executor = mappings.executors.prepare("http", _FORWARD, "built-in route", mappings.expressions.for_route())
    return RouteSet([Routed(gitlab, read.executor(read.routes[0].name)), Routed(forward, executor)])
