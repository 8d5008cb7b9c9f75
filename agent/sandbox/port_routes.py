"""The routes of Port's API that the stand-in serves: request in, ledger asked, answer out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

from agent.domain.json import Json, JsonObject
from agent.sandbox import schemas
from agent.sandbox.ledger import Ledger, Refusal
from agent.sandbox.pending import DEFAULT_VISIBILITY_S
from agent.sandbox.records import RunRecord

MAX_BODY_BYTES = 1024 * 1024
TOKEN_PATH = "/v1/auth/access_token"  # noqa: S105 - a path


@dataclass(slots=True)
class Credentials:
    """What the stand-in lets in: one client, and the tokens it has issued. Times in seconds."""

    client_id: str = "sandbox-client"
    client_secret: str = field(default_factory=lambda: token_urlsafe(48), repr=False)
    token_lifetime_s: float = 3 * 3600.0
    _tokens: dict[str, float] = field(default_factory=dict, repr=False)

    def issue(self, client_id: str, client_secret: str) -> str:
        """A new token. Raises `Refusal` 401 for another client."""
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            raise Refusal(401, "unauthorized", "Invalid client id or client secret")
        token = token_urlsafe(24)
        self._tokens[token] = time.monotonic() + self.token_lifetime_s
        return token

    def check(self, authorization: str | None) -> None:
        """Raises `Refusal` 401 unless the header carries a token that is still good."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or self._tokens.get(token, 0.0) <= time.monotonic():
            raise Refusal(401, "unauthorized", "The access token is missing, unknown or expired")

    def expire_tokens(self) -> None:
        """Makes every token issued so far worthless."""
        self._tokens.clear()


class PortRoutes:
    """One method per route. Each raises `Refusal` where Port would refuse. ``organization`` is changed in place."""

    def __init__(
        self, ledger: Ledger, credentials: Credentials, organization: dict[str, Json], kafka: JsonObject | None
    ) -> None:
        self._ledger = ledger
        self._credentials = credentials
        self._organization = organization
        self._kafka = kafka

    def table(self) -> list[web.RouteDef]:
        """All routes, for an application."""
        run, entities, nodes = (
            "/v1/actions/runs/{run_id}",
            "/v1/blueprints/{blueprint}/entities",
            "/v1/workflows/nodes/runs",
        )
        return [
            web.post(TOKEN_PATH, self._access_token),
            web.get("/v1/actions/runs", self._list_runs),
            web.get(run, self._get_run),
            web.patch("/v1/actions/runs/ack", self._ack_runs),
            web.post("/v1/actions/runs/claim-pending", self._claim_runs),
            web.post("/v1/workflows/runs/claim-pending", self._claim_node_runs),
            web.patch("/v1/workflows/runs/ack", self._ack_node_run),
            web.patch(run, self._patch_run),
            web.get(f"{run}/logs", self._get_logs),
            web.post(f"{run}/logs", self._add_log),
            web.patch(f"{run}/response", self._set_response),
            web.post(entities, self._post_entity),
            web.patch(f"{entities}/{{identifier}}", self._patch_entity),
            web.delete(f"{entities}/{{identifier}}", self._delete_entity),
            web.get(f"{entities}/{{identifier}}", self._get_entity),
            web.get(nodes, self._list_node_runs),
            web.patch(f"{nodes}/{{run_id}}", self._patch_node_run),
            web.post(f"{nodes}/{{run_id}}/logs", self._add_node_logs),
            web.get("/v1/kafka-credentials", self._kafka_credentials),
            web.get("/v1/organization", self._get_organization),
            web.patch("/v1/organization", self._patch_organization),
        ]

    async def _access_token(self, request: web.Request) -> web.Response:
        body = await _body(request, schemas.ACCESS_TOKEN)
        token = self._credentials.issue(str(body["clientId"]), str(body["clientSecret"]))
        lifetime_s = self._credentials.token_lifetime_s
        return _ok(accessToken=token, expiresIn=lifetime_s, tokenType="Bearer")

    # ── action runs ──────────────────────────────────────────────────────────────────────────────────

    async def _list_runs(self, request: web.Request) -> web.Response:
        query, limit = request.query, _number(request, "limit", 1, 1000, default=1000)
        wanted = {
            "action": "action",
            "blueprint": "blueprint",
            "entity": "entity",
            "external_run_id": "external_run_id",
        }
        active = _flag(request, "active")
        chosen = [
            run.to_api(_version(request))
            for run in self._ledger.runs.values()
            if not run.is_node_run
            and all(query[name] == getattr(run, key) for name, key in wanted.items() if name in query)
            and (not active or run.ended_at is None)
        ]
        return _ok(runs=chosen[-limit:])

    async def _get_run(self, request: web.Request) -> web.Response:
        return _ok(run=self._ledger.run(request.match_info["run_id"]).to_api(_version(request)))

    async def _patch_run(self, request: web.Request) -> web.Response:
        version = _version(request)
        run = self._ledger.patch_run(request.match_info["run_id"], await _body(request, schemas.RUN_PATCH))
        return _ok(run=run.to_api(version))

    async def _get_logs(self, request: web.Request) -> web.Response:
        run = self._ledger.run(request.match_info["run_id"])
        limit, offset = _number(request, "limit", 1, 50, default=50), _number(request, "offset", 0, None, default=0)
        return _ok(runLogs=[_log_line(run, index) for index in range(len(run.logs))[offset : offset + limit]])

    async def _add_log(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]
        self._ledger.add_log(run_id, await _body(request, schemas.RUN_LOG))
        return _ok(201, runLog=_log_line(self._ledger.run(run_id), -1))

    async def _set_response(self, request: web.Request) -> web.Response:
        body = await _body(request, schemas.RUN_RESPONSE)
        return _ok(run=self._ledger.set_response(request.match_info["run_id"], body["response"]).to_api())

    # ── pending runs ─────────────────────────────────────────────────────────────────────────────────

    async def _claim_runs(self, request: web.Request) -> web.Response:
        return await self._claim(request, schemas.CLAIM_RUNS, "runs", nodes=False)

    async def _claim_node_runs(self, request: web.Request) -> web.Response:
        return await self._claim(request, schemas.CLAIM_NODE_RUNS, "nodeRuns", nodes=True)

    async def _claim(
        self, request: web.Request, schema: Draft202012Validator, member: str, *, nodes: bool
    ) -> web.Response:
        body: Any = await _body(request, schema)
        visibility_s = body["visibilityTimeoutMs"] / 1000 if "visibilityTimeoutMs" in body else DEFAULT_VISIBILITY_S
        exclude = body.get("exclude", ())
        claimed: Any = self._ledger.claim(body["limit"], visibility_s, nodes=nodes, exclude=exclude)
        return web.json_response({"ok": True, member: claimed})

    async def _ack_runs(self, request: web.Request) -> web.Response:
        """Refused where none of them could be taken."""
        body: Any = await _body(request, schemas.ACK_RUNS)
        refusals = []
        for run_id in body["runIds"]:
            try:
                self._ledger.acknowledge(run_id)
            except Refusal as refusal:
                refusals.append(refusal)
        if len(refusals) == len(body["runIds"]):
            raise refusals[0]
        return _ok(ackedCount=len(body["runIds"]) - len(refusals))

    async def _ack_node_run(self, request: web.Request) -> web.Response:
        body: Any = await _body(request, schemas.ACK_NODE_RUN)
        self._ledger.acknowledge(body["nodeRunIdentifier"], node=True)
        return _ok(acked=True)

    # ── catalogue ────────────────────────────────────────────────────────────────────────────────────

    async def _post_entity(self, request: web.Request) -> web.Response:
        upsert, merge = _flag(request, "upsert"), _flag(request, "merge")
        body = await _body(request, schemas.ENTITY)
        verb = "create" if not upsert else "merge" if merge else "upsert"
        identifier = body.get("identifier")
        entity = self._ledger.write_entity(
            verb,
            request.match_info["blueprint"],
            None if identifier is None else str(identifier),
            body,
            request.query.get("run_id"),
        )
        return _ok(201, entity=entity)

    async def _patch_entity(self, request: web.Request) -> web.Response:
        body = await _body(request, schemas.ENTITY_PATCH)
        return _ok(
            entity=self._ledger.write_entity("patch", *_entity_key(request), body, request.query.get("run_id"))
        )

    async def _delete_entity(self, request: web.Request) -> web.Response:
        _flag(request, "delete_dependents")
        self._ledger.write_entity("delete", *_entity_key(request), {}, request.query.get("run_id"))
        return _ok()

    async def _get_entity(self, request: web.Request) -> web.Response:
        key = _entity_key(request)
        if key not in self._ledger.catalogue:
            raise Refusal(404, "not_found", f'Entity with identifier "{key[1]}" was not found')
        return _ok(entity={**self._ledger.catalogue[key], "identifier": key[1], "blueprint": key[0]})

    # ── workflow nodes ───────────────────────────────────────────────────────────────────────────────

    async def _list_node_runs(self, request: web.Request) -> web.Response:
        wanted = request.query.get("external_run_id")
        nodes = (run for run in self._ledger.runs.values() if run.is_node_run)
        return _ok(nodeRuns=[run.to_node_api() for run in nodes if wanted in (None, run.external_run_id)])

    async def _patch_node_run(self, request: web.Request) -> web.Response:
        body = await _body(request, schemas.NODE_RUN_PATCH)
        return _ok(nodeRun=self._ledger.patch_node_run(request.match_info["run_id"], body).to_node_api())

    async def _add_node_logs(self, request: web.Request) -> web.Response:
        body = await _body(request, schemas.NODE_RUN_LOGS)
        return _ok(nodeRun=self._ledger.add_node_logs(request.match_info["run_id"], body["logs"]).to_node_api())

    # ── organisation ─────────────────────────────────────────────────────────────────────────────────

    async def _kafka_credentials(self, _request: web.Request) -> web.Response:
        return _ok(credentials=self._kafka)

    async def _get_organization(self, _request: web.Request) -> web.Response:
        return _ok(organization=self._organization)

    async def _patch_organization(self, request: web.Request) -> web.Response:
        body = await _body(request, schemas.ORGANIZATION)
        self._organization |= body
        return _ok(organization=self._organization)


def _ok(status: int = 200, **parts: Json | dict[str, Any] | list[dict[str, Any]]) -> web.Response:
    return web.json_response({"ok": True, **parts}, status=status)


async def _body(request: web.Request, schema: Draft202012Validator) -> dict[str, Json]:
    """The body, checked. Raises `Refusal`: 413 too large, 415 not JSON by its type, 400 not JSON, 422 schema."""
    text = await request.read()
    if request.content_type != "application/json":
        raise Refusal(415, "unsupported_media_type", f"Unsupported media type {request.content_type}")
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Refusal(400, "bad_request", f"The body is not valid JSON: {error}") from None
    violation = schemas.first_violation(schema, body)
    if violation is not None:
        raise Refusal(422, "invalid_request", violation)
    return dict(body)


def _entity_key(request: web.Request) -> tuple[str, str]:
    return request.match_info["blueprint"], request.match_info["identifier"]


def _version(request: web.Request) -> str:
    version = request.query.get("version", "v1")
    if version not in ("v1", "v2"):
        raise Refusal(422, "invalid_request", "query/version: must be v1 or v2")
    return version


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in ("true", "false"):
        raise Refusal(422, "invalid_request", f"query/{name}: must be boolean")
    return value == "true"


def _number(request: web.Request, name: str, lowest: int, highest: int | None, *, default: int) -> int:
    value = request.query.get(name, str(default))
    if not value.isdecimal() or int(value) < lowest or (highest is not None and int(value) > highest):
        raise Refusal(
            422, "invalid_request", f"query/{name}: must be a number of {lowest} or more, at most {highest}"
        )
    return int(value)


def _log_line(run: RunRecord, index: int) -> dict[str, Any]:
    line = run.logs[index]
    return {
        "id": line.id,
        "runId": run.id,
        "message": line.message,
        "createdBy": "sandbox",
        "createdAt": line.created_at,
    }
