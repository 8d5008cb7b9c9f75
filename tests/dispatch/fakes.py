"""In-memory neighbours of the dispatcher: a source with receipts, an intake of names, a recording reporter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.dispatch.dispatcher import Dispatcher, DispatchSettings
from agent.dispatch.life import LifeSettings, Lives
from agent.dispatch.lifecycle import Lifecycle, Stop
from agent.dispatch.reception import Reception
from agent.dispatch.redelivery import Redelivery, Waits
from agent.dispatch.second_look import SecondLook
from agent.domain.earlier import Earlier, Ending
from agent.domain.errors import DecryptionError, EntityRefusedError, SourceLostError
from agent.domain.events import Event
from agent.domain.invocation import (
    Channel,
    Invocation,
    InvocationKind,
    InvocationMethod,
    RunId,
    Trigger,
    View,
)
from agent.domain.json import Json, JsonObject
from agent.domain.outcome import Outcome
from agent.domain.route import Route, RoutingTable, Unrouted
from agent.domain.settlement import Delivered, NothingToReport, Reported, Settlement, Undelivered
from agent.domain.timeline import Timeline
from agent.ports import (
    Clock,
    Decoded,
    Delivery,
    EntityChange,
    Executor,
    LogStream,
    NotOurs,
    Routed,
    RunContext,
    Standing,
    Subject,
    Tracer,
    Unacceptable,
    Unexecutable,
    Verdict,
)


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def epoch(self) -> float:
        return time.time()


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []

    def notify(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [e for e in self.all if isinstance(e, kind)]


class MemorySource:
    """Hands out what is put in; keeps what was settled. ``revoked`` receipts are somebody else's by now.

    While ``hold`` is set, no start is made known.
    """

    name = "memory"

    def __init__(self) -> None:
        self.begins_for_good = False
        self.queue: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self.settled: dict[object, Settlement] = {}
        self.begun: list[object] = []
        self.secured: list[object] = []
        self.resumed: list[object] = []
        self.ended: dict[object, Ending] = {}
        self.withdrawn: list[object] = []
        self.hold: asyncio.Event | None = None
        self.revoked: set[object] = set()
        self.lost = False
        self.closed = False

    def put(
        self,
        name: str,
        body: bytes | None = None,
        channel: Channel = Channel.RUNS,
        origin: str | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        self.queue.put_nowait(
            Delivery(body or name.encode(), name, channel, time.monotonic(), origin or name, earlier)
        )

    async def start(self) -> None:
        return

    async def next(self) -> Delivery | None:
        delivery = await self.queue.get()
        if delivery is None and self.lost:
            raise SourceLostError("gone")
        return delivery

    def is_ours(self, receipt: object) -> bool:
        return receipt not in self.revoked

    def begin(self, receipt: object) -> asyncio.Future[bool]:
        self.begun.append(receipt)
        return asyncio.ensure_future(self._begin(receipt))

    async def _begin(self, receipt: object) -> bool:
        if self.hold is not None:
            await self.hold.wait()
        return receipt not in self.revoked

    async def secure(self, receipt: object) -> bool:
        self.secured.append(receipt)
        return receipt not in self.revoked

    def resume(self, receipt: object) -> None:
        self.resumed.append(receipt)

    def withdraw(self, receipt: object) -> None:
        self.withdrawn.append(receipt)

    def end(self, receipt: object, ending: Ending) -> None:
        assert receipt not in self.settled
        self.ended[receipt] = ending

    def settle(self, receipt: object, settlement: Settlement) -> None:
        assert receipt not in self.settled, f"{receipt} was settled twice"
        self.settled[receipt] = settlement

    async def stop_intake(self) -> None:
        self.queue.put_nowait(None)

    async def close(self, timeout_s: float) -> None:
        del timeout_s
        self.closed = True


def invocation(
    name: str,
    *,
    agent: bool = True,
    kind: InvocationKind = InvocationKind.ACTION_RUN,
    inputs: JsonObject | None = None,
) -> Invocation:
    return Invocation(
        kind=kind,
        run_id=RunId(f"r_{name}"),
        action=name.partition("-")[0],
        blueprint="service",
        trigger=Trigger(),
        entity=None,
        entity_id=None,
        inputs=inputs if inputs is not None else {"name": name},
        method=InvocationMethod(type="WEBHOOK", agent=agent),
        document={"name": name},
    )


class Quarantine:
    """Remembers what it was given: origin and reason."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []

    def keep(self, body: bytes, origin: str, reason: str, detail: str) -> None:
        assert body
        assert detail
        self.kept.append((origin, reason))


class NameIntake:
    """A message is its name: ``action-number``; some names stand for kinds of messages."""

    def __init__(self) -> None:
        self.recalled: list[str] = []
        self.knows_new_secret = False

    def decode(self, body: bytes, channel: Channel) -> Verdict:
        name = body.decode().removeprefix("large ")
        if body.startswith(b"large"):
            return Unexecutable(invocation(name, agent=not name.startswith("kafka")), "the message is too large")
        if name.startswith("noise"):
            return NotOurs("not_for_agents")
        if name.startswith("foreign") and not self.knows_new_secret:
            return Unacceptable("signature", "not one of ours", RunId(f"r_{name}"), may_fit_later=True)
        if name.startswith("forged"):
            return Unacceptable("signature", "the signature does not fit", RunId(f"r_{name}"))
        if channel is Channel.CHANGE_LOG:
            return Decoded(invocation(name, agent=False, kind=InvocationKind.CHANGE_EVENT))
        return Decoded(invocation(name, agent=not name.startswith("kafka")))

    def recall(self, body: bytes, channel: Channel) -> Invocation:
        self.recalled.append(body.decode())
        decoded = self.decode(body, channel)
        assert isinstance(decoded, Decoded)
        return decoded.invocation

    def unlock(
        self,
        given: Invocation,
        paths: Sequence[str],
        *,
        listed: bool = True,  # noqa: ARG002 - its messages list nothing
    ) -> tuple[Invocation, Mapping[str, tuple[str, ...]]]:
        if "sealed" in paths:
            raise DecryptionError("input 'password' did not open")
        if "secret" in paths:
            return replace(given, inputs={"password": "hunter2hunter2"}), {"password": ("hunter2hunter2",)}
        if "pin" in paths:
            return replace(given, inputs={"pin": "4711"}), {"pin": ("4711",)}
        return given, {}


@dataclass
class Lines:
    report: Report

    def write(self, chunk: bytes) -> None:
        self.report.lines.append(("INFO", chunk.decode()))

    def close(self) -> None:
        return


@dataclass
class Report:
    """One run's report; ``answer`` is what Port would say at the end."""

    run_id: RunId | None
    answer: Reported
    secrets: list[str]
    lines: list[tuple[str, str]] = field(default_factory=list)
    responses: list[JsonObject] = field(default_factory=list)
    told: dict[str, Json] = field(default_factory=dict)
    entities: list[EntityChange] = field(default_factory=list)
    outcome: Outcome | None = None
    refuse_entities: bool = False
    entity_gate: asyncio.Event | None = None
    hold: asyncio.Event | None = None
    abandoned: bool = False

    def mask(self, secret: str) -> None:
        self.secrets.append(secret)

    def masked(self, text: str, *, is_cut: bool = False) -> str:  # noqa: ARG002 - it keeps no ends back
        for secret in self.secrets:
            text = text.replace(secret, "[masked]")
        return text

    def log(self, message: str, level: str = "INFO") -> None:
        self.lines.append((level, message))

    def stream(self, name: str) -> LogStream:
        del name
        return Lines(self)

    def link(self, url: Json) -> None:
        self.told["link"] = url

    def summary(self, text: Json) -> None:
        self.told["summary"] = text

    def status_label(self, text: Json) -> None:
        self.told["status_label"] = text

    def response(self, response: JsonObject) -> None:
        self.responses.append(response)

    def external_run_id(self, value: Json) -> None:
        self.told["external_run_id"] = value

    def output(self, name: str, value: Json) -> None:
        self.told[name] = value

    async def change_entity(self, change: EntityChange) -> None:
        if self.refuse_entities:
            raise EntityRefusedError("blueprint not found")
        self.entities.append(change)
        if self.entity_gate is not None:
            await self.entity_gate.wait()

    async def finish(self, outcome: Outcome) -> Reported:
        assert self.outcome is None, "finished twice"
        self.outcome = outcome
        if self.hold is not None:
            await self.hold.wait()
        return NothingToReport() if self.run_id is None else self.answer

    def abandon(self) -> None:
        self.abandoned = True

    @property
    def size_bytes(self) -> int:
        return sum(len(text) for _, text in self.lines)


@dataclass
class LeftOver:
    """An outcome of an earlier life; ``hold`` keeps Port from answering."""

    subject: Subject
    answer: Reported = field(default_factory=Delivered)
    hold: asyncio.Event | None = None
    delivered: bool = False

    async def deliver(self) -> Reported:
        if self.hold is not None:
            await self.hold.wait()
        self.delivered = True
        return self.answer


class Reporter:
    def __init__(self) -> None:
        self.reports: dict[str, Report] = {}
        self.left: list[LeftOver] = []
        self.answer: Reported = Delivered()
        self.refuse_entities = False
        self.entity_gate: asyncio.Event | None = None
        self.hold: asyncio.Event | None = None
        self.hurried = False

    def left_over(self) -> Sequence[LeftOver]:
        left, self.left = self.left, []
        return left

    def open(self, subject: Subject, secrets: Iterable[str]) -> Report:
        report = Report(
            subject.run_id,
            self.answer,
            list(secrets),
            refuse_entities=self.refuse_entities,
            entity_gate=self.entity_gate,
            hold=self.hold,
        )
        self.reports[subject.run_id or ""] = report
        return report

    def hurry(self, timeout_s: float) -> None:
        del timeout_s
        self.hurried = True
        for report in self.reports.values():
            report.answer = Undelivered("no time") if report.hold is not None else report.answer
            if report.hold is not None:
                report.hold.set()

    async def close(self) -> None:
        return


class Lookup:
    """Port's word about runs, by what a test says; ``asked`` for every one it was asked about."""

    def __init__(self) -> None:
        self.standings: dict[str, Standing] = {}
        self.asked: list[str] = []
        self.watched: list[set[RunId]] = []
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None

    async def standing(self, run_id: RunId | None, kind: InvocationKind) -> Standing:
        del kind
        self.asked.append(run_id or "")
        if self.error is not None:
            raise self.error
        if self.hold is not None:
            await self.hold.wait()
        return self.standings.get(run_id or "", Standing.IN_PROGRESS)

    async def closed(self, run_ids: Collection[RunId]) -> frozenset[RunId]:
        self.watched.append(set(run_ids))
        return frozenset(run_id for run_id in run_ids if self.standings.get(run_id) is Standing.OVER)


class Work:
    """An executor made of a function."""

    def __init__(self, do: Callable[[RunContext], Coroutine[Any, Any, Any]]) -> None:
        self._do = do

    async def execute(self, run: RunContext) -> Outcome:
        result: Outcome = await self._do(run)
        return result

    async def preview(self, view: View) -> JsonObject:
        del view
        return {}


class Table:
    """A router over real routes."""

    def __init__(self, routes: Sequence[tuple[Route, Executor]]) -> None:
        self._table = RoutingTable([route for route, _ in routes])
        self._executors = {route.name: executor for route, executor in routes}

    def resolve(self, given: Invocation) -> Routed | Unrouted:
        route = self._table.resolve(given)
        return route if isinstance(route, Unrouted) else Routed(route, self._executors[route.name])


@dataclass
class House:
    """A whole agent of fakes around the real dispatcher and lifecycle."""

    routes: Sequence[tuple[Route, Executor]]
    workspaces: Path
    settings: DispatchSettings = field(default_factory=DispatchSettings)
    timeline: Timeline = field(default_factory=lambda: Timeline(drain_s=5, kill_grace_s=0.1, report_s=0.5))
    environment: dict[str, str] = field(default_factory=dict)
    redeliver_when_stopped: bool = False
    ignore_unrouted: bool = False
    signature_patience_s: float = 0.0
    tracer: Tracer | None = None
    clock: Clock = field(default_factory=RealClock)

    def __post_init__(self) -> None:
        self.learned: list[str] = []
        self.source, self.reporter, self.events, self.stop = MemorySource(), Reporter(), Events(), Stop()
        self.lookup, self.intake = Lookup(), NameIntake()
        self.quarantine = Quarantine()
        clock = self.clock
        life = LifeSettings(
            self.workspaces,
            self.timeline.kill_grace_s,
            self.redeliver_when_stopped,
            ("client-secret",),
            environment=self.environment,
            learn=self.learned.append,
        )
        self.lives = lives = Lives(NameIntake(), self.reporter, self.events, clock, life)
        redelivery = Redelivery(self.lookup, clock, Waits(look_again_s=0.01))
        reception = Reception(
            self.source,
            self.intake,
            Table(self.routes),
            self.events,
            self.quarantine,
            SecondLook(self.signature_patience_s, clock),
            is_for_others=lambda _invocation, _unrouted: self.ignore_unrouted,
            tracer=self.tracer,
        )
        self.dispatcher = Dispatcher(self.source, reception, lives, redelivery, self.events, self.settings)
        self.lifecycle = Lifecycle(
            self.source, self.dispatcher, self.reporter, self.events, self.timeline, services=()
        )

    async def settle(self, count: int) -> None:
        """Runs until ``count`` messages are settled, then stops in order."""
        agent = asyncio.ensure_future(self.lifecycle.run(self.stop))
        try:
            await self.until(lambda: len(self.source.settled) >= count)
        finally:
            self.stop.ask()
            assert await asyncio.wait_for(agent, 30) == 0

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"never: {self.source.settled} {self.events.all}"
            await asyncio.sleep(0.005)
