"""Port's API in its own words: every request this agent makes, and what it reads from the answers. No I/O.

Port refuses unknown keys, so the bodies hold exactly the documented ones; what is not given is left out. A name
that Port gives to nothing is not put into a path: ``..`` would turn a request about an entity into one about its
blueprint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from agent.domain.invocation import RunId
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.outcome import RunStatus
from agent.domain.route import EntityVerb
from agent.ports import EntityChange


class UnfitIdentifierError(ValueError):
    """A name that cannot be one of Port's was to become part of a path; the text tells which, but not its value."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``route`` is the path's pattern, for metrics; ``path`` is quoted and begins with ``/v1``.

    ``counted_apart``: Port has, or had, another budget for such requests, so that their answers say nothing of the
    one that all others share.
    """

    method: str
    route: str
    path: str
    body: JsonObject | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    counted_apart: bool = False


_MAX_IDENTIFIER_CHARS = 1000
_IDENTIFIER_SIGNS = frozenset("0123456789@_.+:\\/=-")
_USUAL = re.compile(r"[A-Za-z0-9@_.+:\\/=-]*")
"""The same without other alphabets: as good as every name, and quicker than a look at each letter."""
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{_MAX_IDENTIFIER_CHARS}}}")
"""Of those what stands in a path as it is."""
_ALLOWED = (
    f"1 to {_MAX_IDENTIFIER_CHARS:,} characters: letters, digits and @ _ . + : \\ / = -, no blanks, and not . or .."
)


def is_identifier(name: str) -> bool:
    """Whether Port lets anything have this name: letters of any alphabet, digits and some signs, but no ``..``."""
    return (
        0 < len(name) <= _MAX_IDENTIFIER_CHARS
        and name not in (".", "..")
        and (_USUAL.fullmatch(name) is not None or all(c.isalpha() or c in _IDENTIFIER_SIGNS for c in name))
    )


def _unfit(what: str) -> UnfitIdentifierError:
    return UnfitIdentifierError(f"its {what} is none that Port takes ({_ALLOWED})")


def _path(route: str, **names: str) -> str:
    """The route with names in it. Raises `UnfitIdentifierError`."""
    return route.format(**{what: _quoted(what, name) for what, name in names.items()})


def _quoted(what: str, name: str) -> str:
    if _PLAIN.fullmatch(name):  # as every run's id is
        return name
    if not is_identifier(name):
        raise _unfit(what)
    return quote(name, safe="")


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────

_RUNS = "/v1/actions/runs"
_RUN = "/v1/actions/runs/{run_id}"
_NODE_RUNS = "/v1/workflows/nodes/runs"
_NODE_RUN = "/v1/workflows/nodes/runs/{run_id}"


class NodeResult(StrEnum):
    """How a workflow node ended."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class NodeLog:
    """Lines of a workflow node's log. ``level``: INFO, WARN, ERROR or DEBUG, and nothing else."""

    level: str
    message: str


def get_run(run_id: RunId) -> Request:
    """Asks for an action run, as API version 2 shows it. Raises `UnfitIdentifierError`, as all that follow."""
    return Request("GET", _RUN, _path(_RUN, run_id=run_id), query={"version": "v2"})


def running_runs() -> Request:
    """Asks for the action runs that have not ended; Port gives a thousand at most."""
    return Request("GET", _RUNS, _RUNS, query={"active": "true", "limit": "1000", "version": "v2"})


def patch_run(
    run_id: RunId,
    *,
    status: RunStatus | None = None,
    status_label: str | None = None,
    links: Sequence[str] = (),
    summary: str | None = None,
    external_run_id: str | None = None,
) -> Request:
    """Overwrites parts of an action run; ``links`` replaces all of its links, a ``status`` closes it."""
    body = _given(
        status=None if status is None else str(status),
        statusLabel=status_label,
        link=links[0] if len(links) == 1 else list(links) or None,
        summary=summary,
        externalRunId=external_run_id,
    )
    return Request("PATCH", _RUN, _path(_RUN, run_id=run_id), body)


def add_run_log(run_id: RunId, message: str) -> Request:
    """Adds one message, of any number of lines, to an action run's log. Sent twice, it shows twice."""
    return Request("POST", f"{_RUN}/logs", _path(f"{_RUN}/logs", run_id=run_id), {"message": message})


def set_run_response(run_id: RunId, response: Json) -> Request:
    """Gives an action run the answer of its target: an object, an array or a text. The last one counts."""
    return Request("PATCH", f"{_RUN}/response", _path(f"{_RUN}/response", run_id=run_id), {"response": response})


def node_runs_told(run_id: RunId) -> Request:
    """Asks for a node run that we ended, by the external id that it has then: there is no other way."""
    if not is_identifier(run_id):
        raise _unfit("run_id")
    return Request("GET", _NODE_RUNS, _NODE_RUNS, query={"external_run_id": run_id})


def patch_node_run(
    run_id: RunId,
    *,
    result: NodeResult | None = None,
    output: JsonObject | None = None,
    logs: Sequence[NodeLog] = (),
    links: Sequence[str] = (),
    external_run_id: str | None = None,
) -> Request:
    """Overwrites parts of a workflow node's run; a ``result`` completes it."""
    body = _given(
        status=None if result is None else "COMPLETED",
        result=None if result is None else str(result),
        output=output or None,
        logs=[_node_log(log) for log in logs] or None,
        links=list(links) or None,
        externalRunId=external_run_id,
    )
    return Request("PATCH", _NODE_RUN, _path(_NODE_RUN, run_id=run_id), body)


def add_node_run_logs(run_id: RunId, logs: Sequence[NodeLog]) -> Request:
    """Adds entries to a workflow node's log. Sent twice, they show twice."""
    body: JsonObject = {"logs": [_node_log(log) for log in logs]}
    return Request("POST", f"{_NODE_RUN}/logs", _path(f"{_NODE_RUN}/logs", run_id=run_id), body)


def _node_log(log: NodeLog) -> JsonObject:
    return {"level": log.level, "message": log.message}


# ── pending runs, for whoever polls ──────────────────────────────────────────────────────────────────

_CLAIM_RUNS = "/v1/actions/runs/claim-pending"
_CLAIM_NODE_RUNS = "/v1/workflows/runs/claim-pending"
_ACK_RUNS = "/v1/actions/runs/ack"
_ACK_NODE_RUNS = "/v1/workflows/runs/ack"
_INSTALLATION = "_PORT_EXEC_AGENT"
"""What Port calls all agents together: what is pending for one may be claimed by any."""
_RESERVED: Mapping[str, str] = {"x-port-reserved-usage": "true"}


def claim_runs(limit: int, visibility_s: float, exclude: Sequence[RunId] = ()) -> Request:
    """Asks for pending action runs, which are hidden from other claims for so long."""
    body = _given(
        installationId=_INSTALLATION,
        limit=limit,
        invocationMethod="WEBHOOK",
        visibilityTimeoutMs=round(visibility_s * 1000),
        exclude=list(exclude) or None,
    )
    return Request("POST", _CLAIM_RUNS, _CLAIM_RUNS, body, headers=_RESERVED, counted_apart=True)


def claim_node_runs(limit: int, visibility_s: float) -> Request:
    """The same for nodes of workflows; none can be excluded."""
    body = _given(installationId=_INSTALLATION, limit=limit, visibilityTimeoutMs=round(visibility_s * 1000))
    return Request("POST", _CLAIM_NODE_RUNS, _CLAIM_NODE_RUNS, body, headers=_RESERVED, counted_apart=True)


def acknowledge_run(run_id: RunId) -> Request:
    """Takes a claimed run for good: it is pending for nobody any more."""
    return Request("PATCH", _ACK_RUNS, _ACK_RUNS, {"runIds": [run_id]}, headers=_RESERVED, counted_apart=True)


def acknowledge_node_run(run_id: RunId) -> Request:
    """The same for a node of a workflow."""
    return Request(
        "PATCH",
        _ACK_NODE_RUNS,
        _ACK_NODE_RUNS,
        {"nodeRunIdentifier": run_id},
        headers=_RESERVED,
        counted_apart=True,
    )


# ── catalogue, organisation, token ───────────────────────────────────────────────────────────────────

_ENTITIES = "/v1/blueprints/{blueprint}/entities"
_ENTITY = "/v1/blueprints/{blueprint}/entities/{identifier}"


def change_entity(change: EntityChange, run_id: RunId | None) -> Request:
    """Changes the catalogue, tied to the action run if one is given.

    Keys that Port does not know are passed on, so that it can say so. Raises `UnfitIdentifierError`.
    """
    tie = {} if run_id is None else {"run_id": run_id}
    if change.verb is EntityVerb.UPSERT:
        if change.identifier is not None and not is_identifier(change.identifier):
            raise _unfit("identifier")  # Port would answer with a regular expression
        path = _path(_ENTITIES, blueprint=change.blueprint)
        body = {**change.body, **_given(identifier=change.identifier)}
        return Request(
            "POST", _ENTITIES, path, body, {"upsert": "true", "merge": "true", **tie}, counted_apart=True
        )
    path = _path(_ENTITY, blueprint=change.blueprint, identifier=change.identifier or "")
    if change.verb is EntityVerb.PATCH:
        return Request("PATCH", _ENTITY, path, change.body, tie, counted_apart=True)
    return Request("DELETE", _ENTITY, path, None, tie, counted_apart=True)


def access_token(client_id: str, client_secret: str) -> Request:
    """Asks for a token; the only request that needs none."""
    path = "/v1/auth/access_token"
    return Request("POST", path, path, {"clientId": client_id, "clientSecret": client_secret})


def kafka_credentials() -> Request:
    """Asks for the organisation's brokers and its user on them."""
    return Request("GET", "/v1/kafka-credentials", "/v1/kafka-credentials")


def organization() -> Request:
    """Asks who we are: the cheapest proof that the credentials work."""
    return Request("GET", "/v1/organization", "/v1/organization")


def tell_streamer(name: str) -> Request:
    """Says where this organisation's agent takes messages from: KAFKA or POLLING."""
    body: JsonObject = {"settings": {"portAgentStreamerName": name}}
    return Request("PATCH", "/v1/organization", "/v1/organization", body)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────


_EXCERPT_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and how long it lasts, in seconds from when it was asked for."""

    value: str = field(repr=False)
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class RunState:
    """What Port says of an action run: IN_PROGRESS, WAITING_FOR_APPROVAL, SUCCESS, FAILURE or DECLINED."""

    run_id: RunId
    status: str

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, so that nothing may be done for it or said about it."""
        return self.status in ("SUCCESS", "FAILURE", "DECLINED")


@dataclass(frozen=True, slots=True)
class KafkaCredentials:
    """Where the organisation's topics are, and who we are there."""

    brokers: tuple[str, ...]
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Organization:
    """The organisation that the credentials belong to."""

    organization_id: str
    name: str = ""


_UNTOLD_LIFETIME_S = 3600.0
"""Port's tokens are good for three hours; one that is not says so when it is used."""


def read_token(body: Json) -> Token | None:
    """The token, or ``None`` where the answer carries none. Who stands in for Port may leave out ``expiresIn``."""
    fields = as_object(body)
    value, lifetime_s = fields.get("accessToken"), fields.get("expiresIn", _UNTOLD_LIFETIME_S)
    if not isinstance(value, str) or not value or isinstance(lifetime_s, bool):
        return None
    return Token(value, float(lifetime_s)) if isinstance(lifetime_s, int | float) else None


def read_run(body: Json) -> RunState | None:
    """The run, or ``None`` where the answer carries none."""
    run = as_object(as_object(body).get("run"))
    run_id, status = run.get("id"), run.get("status")
    return RunState(RunId(run_id), status) if isinstance(run_id, str) and isinstance(status, str) else None


def read_run_ids(body: Json) -> frozenset[RunId] | None:
    """The ids of the runs in a list, or ``None`` where the answer is no list of runs."""
    runs = as_object(body).get("runs")
    if not isinstance(runs, list):
        return None
    ids = (as_object(run).get("id") for run in runs)
    return frozenset(RunId(run_id) for run_id in ids if isinstance(run_id, str))


def read_completed_node_runs(body: Json) -> frozenset[RunId] | None:
    """The ids of those in a list of node runs that are completed, or ``None`` where the answer is no such list."""
    nodes = as_object(body).get("nodeRuns")
    if not isinstance(nodes, list):
        return None
    read = map(as_object, nodes)
    ids = (node.get("identifier", node.get("id")) for node in read if node.get("status") == "COMPLETED")
    return frozenset(RunId(run_id) for run_id in ids if isinstance(run_id, str))


def read_claimed(body: Json, member: str) -> list[JsonObject] | None:
    """The runs that a claim gave, or ``None`` where the answer is no such list."""
    runs = as_object(body).get(member)
    return [as_object(run) for run in runs] if isinstance(runs, list) else None


def read_acknowledged(body: Json) -> bool | None:
    """Whether the acknowledgement was taken: of action runs Port gives their number, of node runs a flag.

    ``None`` where the answer says neither, as a gateway's page.
    """
    fields = as_object(body)
    said = fields.get("ackedCount", fields.get("acked"))
    return said > 0 if isinstance(said, int | float) else None


def read_kafka_credentials(body: Json) -> KafkaCredentials | None:
    """The credentials, or ``None`` where Port has provisioned no topic for the organisation."""
    fields = as_object(as_object(body).get("credentials"))
    brokers, username, password = (fields.get(name) for name in ("brokers", "username", "password"))
    if isinstance(brokers, str):
        brokers = brokers.split(",")
    if not isinstance(brokers, list) or not isinstance(username, str) or not isinstance(password, str):
        return None
    names = tuple(name.strip() for name in brokers if isinstance(name, str) and name.strip())
    return KafkaCredentials(names, username, password) if names else None


def read_organization(body: Json) -> Organization | None:
    """The organisation, or ``None`` where the answer carries none."""
    fields = as_object(as_object(body).get("organization"))
    organization_id, name = fields.get("id"), fields.get("name")
    if not isinstance(organization_id, str):
        return None
    return Organization(organization_id, name if isinstance(name, str) else "")


def read_message(body: Json, text: str) -> str:
    """Why Port refused: its message, else its error code, else whatever came; of any length, see `excerpt`."""
    fields = as_object(body)
    for name in ("message", "error"):
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return text.strip() or "no reason given"


def excerpt(said: str) -> str:
    """As much of ``said`` as a person reads. What must be masked is masked before: half a secret is not found."""
    return said if len(said) <= _EXCERPT_CHARS else f"{said[:_EXCERPT_CHARS]} …"


def _given(**parts: Json) -> dict[str, Json]:
    return {name: value for name, value in parts.items() if value is not None}
