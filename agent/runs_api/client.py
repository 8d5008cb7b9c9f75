"""Port's API, one method per thing the agent asks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agent.domain.invocation import RunId
from agent.domain.json import JsonObject
from agent.domain.settlement import Refused, Undelivered
from agent.net.client import Client
from agent.ports import Clock, Observer
from agent.runs_api import wire
from agent.runs_api.auth import AccessTokens, TokenUnavailableError
from agent.runs_api.connection import Answer, Connection, RequestLimits, Scope, Unanswered
from agent.runs_api.exchange import Exchange, Reply

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class NotProvisioned:
    """Port has no Kafka topic for this organisation: its support provides one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the credentials belong to, and Port's clock (``None`` where the answer does not tell it)."""

    organization: wire.Organization
    server_epoch_s: float | None


class RunsClient:
    """Sends reports and looks things up. Belongs to the event loop's thread; no method raises, but when cancelled.

    Owns ``http`` from now on. ``client_id`` and ``client_secret`` are called for every new token.
    """

    def __init__(
        self,
        http: Client,
        *,
        base_url: str,
        client_id: Callable[[], str],
        client_secret: Callable[[], str],
        observer: Observer,
        clock: Clock,
        limits: RequestLimits | None = None,
    ) -> None:
        limits = limits or RequestLimits()
        exchange = Exchange(
            http,
            base_url,
            observer,
            clock,
            attempt_timeout_s=limits.attempt_timeout_s,
            connect_timeout_s=limits.connect_timeout_s,
        )
        self._http = http
        self._tokens = AccessTokens(exchange, client_id, client_secret, observer, clock, limits.token_backoff)
        self._connection = Connection(exchange, self._tokens, observer, clock, limits)

    # ── reports: sent until Port answers ─────────────────────────────────────────────────────────────

    async def send(
        self,
        request: wire.Request,
        *,
        can_wait: bool = False,
        until: asyncio.Event | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Sends one of `agent.runs_api.wire`'s requests; see `Connection.send`."""
        return await self._connection.send(request, can_wait=can_wait, until=until, timeout_s=timeout_s)

    def budget_is_low(self) -> bool:
        """Whether requests that can wait should wait."""
        return self._connection.budget_is_low()

    def hurry(self, timeout_s: float) -> None:
        """Every request under way, and every later one, ends within this time. A later call can only shorten it."""
        self._connection.deadline.shorten(timeout_s)

    def left_s(self) -> float | None:
        """How much of that time is left; ``None`` while there is no hurry."""
        return self._connection.deadline.left_s()

    def in_time(self) -> Scope:
        """For what may take many requests: the block ends with that time, and raises `TimeoutError` then."""
        return self._connection.deadline.scope(None)

    async def sign_in(self) -> str | None:
        """Gets a token unless there is a good one. ``None`` if there is one now, else what was wrong.

        May be asked often: the token's route is asked with growing waits only.
        """
        try:
            await self._tokens.get()
        except TokenUnavailableError as error:
            return str(error)
        return None

    # ── look-ups: refused credentials are an answer, and time is short ───────────────────────────────

    async def get_run(self, run_id: RunId, timeout_s: float = 30.0) -> wire.RunState | Refused | Undelivered:
        """Port's word on an action run; `Refused` with 404 where it knows none. Not for workflow node runs.

        A gateway's page is no word of Port's; an object without a run is one, if of whoever stands in for Port.
        """
        try:
            request = wire.get_run(run_id)
        except wire.UnfitIdentifierError as error:
            return Refused(404, str(error))

        def read(reply: Reply) -> wire.RunState | Refused | None:
            run = wire.read_run(reply.body)
            if run is None and isinstance(reply.body, Mapping):
                return Refused(404, "the answer holds no run")
            return run

        return await self._look_up(request, read, timeout_s)

    async def completed_node_runs(
        self, run_id: RunId, timeout_s: float = 30.0
    ) -> frozenset[RunId] | Refused | Undelivered:
        """The ids of the completed node runs that have this one's id as their external id: itself, or none."""
        try:
            request = wire.node_runs_told(run_id)
        except wire.UnfitIdentifierError as error:
            return Refused(404, str(error))
        return await self._look_up(request, lambda reply: wire.read_completed_node_runs(reply.body), timeout_s)

    async def running_runs(self, timeout_s: float = 30.0) -> frozenset[RunId] | Refused | Undelivered:
        """The ids of the organisation's action runs that have not ended; a thousand of them at most."""
        return await self._look_up(wire.running_runs(), lambda reply: wire.read_run_ids(reply.body), timeout_s)

    async def kafka_credentials(
        self, timeout_s: float = 30.0
    ) -> wire.KafkaCredentials | NotProvisioned | Refused | Undelivered:
        """Brokers and the user on them."""

        def read(reply: Reply) -> wire.KafkaCredentials | NotProvisioned:
            return wire.read_kafka_credentials(reply.body) or NotProvisioned()

        return await self._look_up(wire.kafka_credentials(), read, timeout_s)

    async def organization(self, timeout_s: float = 30.0) -> Identity | Refused | Undelivered:
        """Who we are, and what time Port has."""

        def read(reply: Reply) -> Identity | None:
            organization = wire.read_organization(reply.body)
            return None if organization is None else Identity(organization, reply.server_epoch_s)

        return await self._look_up(wire.organization(), read, timeout_s)

    async def tell_streamer(self, name: str, timeout_s: float) -> Refused | Undelivered | None:
        """Says where we take messages from, as the official agent does. ``None``: Port knows it now.

        Lets others go first, and gives up after ``timeout_s``.
        """
        answer = await self._connection.send(
            wire.tell_streamer(name), can_wait=True, patient=False, timeout_s=timeout_s
        )
        if isinstance(answer, Unanswered):
            return Undelivered(wire.excerpt(answer.reason))
        return None if answer.ok else Refused(answer.status_code, wire.excerpt(answer.message))

    # ── pending runs, for whoever polls ──────────────────────────────────────────────────────────────

    async def claim_runs(
        self, limit: int, visibility_s: float, exclude: Sequence[RunId], timeout_s: float = 30.0
    ) -> Sequence[JsonObject] | Refused | Unanswered:
        """Pending action runs, as Port shows them. Asks once: whether and when again is the caller's business."""
        return await self._claim(wire.claim_runs(limit, visibility_s, exclude), "runs", timeout_s)

    async def claim_node_runs(
        self, limit: int, visibility_s: float, timeout_s: float = 30.0
    ) -> Sequence[JsonObject] | Refused | Unanswered:
        """Pending nodes of workflows. Asks once, too."""
        return await self._claim(wire.claim_node_runs(limit, visibility_s), "nodeRuns", timeout_s)

    async def acknowledge_run(self, run_id: RunId, timeout_s: float) -> Answer:
        """Takes a claimed run; see `agent.runs_api.wire.read_acknowledged`. Tried again until the time is up."""
        return await self._connection.send(wire.acknowledge_run(run_id), patient=False, timeout_s=timeout_s)

    async def acknowledge_node_run(self, run_id: RunId, timeout_s: float) -> Answer:
        """The same for a node of a workflow."""
        return await self._connection.send(wire.acknowledge_node_run(run_id), patient=False, timeout_s=timeout_s)

    async def _claim(
        self, request: wire.Request, member: str, timeout_s: float
    ) -> Sequence[JsonObject] | Refused | Unanswered:
        answer = await self._connection.send(request, patient=False, once=True, timeout_s=timeout_s)
        if isinstance(answer, Unanswered):
            return answer
        if not answer.ok:
            return Refused(answer.status_code, wire.excerpt(answer.message))
        runs = wire.read_claimed(answer.body, member)
        return Unanswered("Port's answer does not have the documented form") if runs is None else runs

    async def close(self) -> None:
        """Ends what is under way, which is `Unanswered` then, and closes the connections. Idempotent."""
        self.hurry(0.0)
        await self._tokens.close()
        await self._http.aclose()

    async def _look_up(
        self, request: wire.Request, read: Callable[[Reply], _T | None], timeout_s: float
    ) -> _T | Refused | Undelivered:
        answer = await self._connection.send(request, patient=False, timeout_s=timeout_s)
        if isinstance(answer, Unanswered):
            return Undelivered(wire.excerpt(answer.reason))
        if not answer.ok:
            return Refused(answer.status_code, wire.excerpt(answer.message))
        value = read(answer)
        return Undelivered("Port's answer does not have the documented form") if value is None else value
