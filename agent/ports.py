"""What the agent's rooms ask of each other: small protocols, owned by the side that uses them.

A *Source* hands over deliveries and takes settlements; an *Executor* does the work of one run through its
`RunContext`; a *Reporter* tells Port; an *Observer* hears facts; a *Clock* tells time. Built-in and foreign
executors implement the same protocols, without privilege.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypedDict, Unpack, runtime_checkable

from agent.domain.earlier import Earlier, Ending
from agent.domain.events import Event
from agent.domain.invocation import Channel, Invocation, InvocationKind, RunId, View
from agent.domain.json import Json, JsonObject, as_text
from agent.domain.outcome import CancelReason, Outcome
from agent.domain.route import EntityVerb, Route, Template, Unrouted
from agent.domain.settlement import Reported, Settlement
from agent.domain.trace import RunTrace, SpanContext

# ── time and facts ───────────────────────────────────────────────────────────────────────────────────


class Clock(Protocol):
    """Time, so that tests can hold it still."""

    def monotonic(self) -> float:
        """Seconds that only go forward; for durations and deadlines."""

    def epoch(self) -> float:
        """Seconds since 1970; only for comparing with other machines' words."""


class Observer(Protocol):
    """Hears facts. Called on the event loop's thread or the consumer's thread: must be quick and thread-safe."""

    def notify(self, event: Event) -> None:
        """Takes note of ``event``. Must not raise."""


Ear: TypeAlias = Callable[[Any], object]
"""What is given facts, all of one type."""


@runtime_checkable
class SelectiveObserver(Observer, Protocol):
    """An observer that does nothing with most types of facts, and says what with which: it is spared the others."""

    def ears(self, kind: type) -> Sequence[Ear]:
        """What each fact of exactly this type is given to, in order, in place of `notify`; empty: it hears none.

        The answer holds for good. Must not raise.
        """


# ── intake ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Delivery:
    """The bytes of one message, and a receipt that only its Source understands.

    ``received_at_s`` is monotonic; ``origin`` says for a log line where it came from. ``earlier`` is what the
    source knows of it from before; ``None`` where its work was surely never begun. ``parent`` is the span that
    came with the message, ``trace`` the run's own from when it is known for a run of ours; both are ``None`` where
    traces are off.
    """

    body: bytes
    receipt: object
    channel: Channel
    received_at_s: float
    origin: str = ""
    earlier: Earlier | None = None
    parent: SpanContext | None = None
    trace: RunTrace | None = None


class Source(Protocol):
    """Where deliveries come from: Kafka or polling. One loop calls `next`; all methods belong to its thread."""

    @property
    def name(self) -> str:
        """``kafka`` or ``polling``: a metric label."""

    @property
    def begins_for_good(self) -> bool:
        """Whether nobody else gets a delivery any more once `begin` was asked for, even if it is withdrawn.

        A stop lets such a beginning come to its end, and its work with it.
        """

    async def start(self) -> None:
        """Begins to fetch. Returns at once; an unreachable broker is retried for ever and told to observers."""

    async def next(self) -> Delivery | None:
        """The next delivery; waits for one. ``None`` once intake was stopped and nothing is left over.

        Cancelling it loses nothing: the delivery comes from the next call.
        """

    def is_ours(self, receipt: object) -> bool:
        """Whether the delivery is ours to act on; not any more if its partition went to another agent."""

    def begin(self, receipt: object) -> Awaitable[bool]:
        """Makes it known, beyond the end of this process, that the work of this delivery begins; then it may.

        ``False``: the delivery is not ours any more, and nothing may begin. Asks at once, whether it is awaited or
        not; whoever stops waiting calls `withdraw`.
        """

    def secure(self, receipt: object) -> Awaitable[bool]:
        """Makes sure that nobody else gets this delivery, for Port is about to be told how its run ends.

        In place of `begin`, where no work begins. ``False``: it is not ours any more, and Port is told nothing.
        """

    def resume(self, receipt: object) -> None:
        """Makes it known that the work goes on, which began here under another receipt: that counts no second time.

        In place of `begin`, for a delivery that came again. Never blocks; a receipt from before a rebalance is
        ignored.
        """

    def withdraw(self, receipt: object) -> None:
        """Takes `begin` or `resume` back: the work did not begin, and will not before the next. Never blocks."""

    def end(self, receipt: object, ending: Ending) -> None:
        """Makes it known, soon, how the work that was begun came to its end; `settle` follows once Port knows.

        Never blocks; a receipt from before a rebalance is ignored.
        """

    def settle(self, receipt: object, settlement: Settlement) -> None:
        """Says what became of a delivery. Never blocks; a receipt from before a rebalance is ignored."""

    async def stop_intake(self) -> None:
        """No new delivery from here on; those handed over may still be settled. Idempotent."""

    async def close(self, timeout_s: float) -> None:
        """Commits what may be committed, leaves the group, ends the thread. Idempotent."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message that may be ours, verified as far as its kind demands."""

    invocation: Invocation


@dataclass(frozen=True, slots=True)
class NotOurs:
    """A message for somebody else: passed over, counted under ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unacceptable:
    """A message that is refused: ``reason`` is a metric label, ``detail`` a sentence without any payload.

    ``may_fit_later``: it is signed with a secret that we do not have, and that may be on its way to us.
    """

    reason: str
    detail: str
    run_id: RunId | None = None
    may_fit_later: bool = False


@dataclass(frozen=True, slots=True)
class Unexecutable:
    """A message that may be ours, verified as far as its kind demands, but that cannot be read in full.

    It is too large, say, or nested too deep: ``detail`` is a sentence about that, without any payload.
    ``invocation`` names a run and has what was found, for ending that run; it is nothing to act on.
    """

    invocation: Invocation
    detail: str


Verdict: TypeAlias = Decoded | NotOurs | Unacceptable | Unexecutable


class Quarantine(Protocol):
    """Keeps messages that cannot be acted on, for whoever looks into them."""

    def keep(self, body: bytes, origin: str, reason: str, detail: str) -> None:
        """Keeps a message, or the beginning of it, and why it is there. Never blocks, never raises."""


class Intake(Protocol):
    """Turns bytes into an `Invocation`."""

    def decode(self, body: bytes, channel: Channel) -> Verdict:
        """Reads and verifies one message. Never raises, whatever the bytes are."""

    def recall(self, body: bytes, channel: Channel) -> Invocation:
        """The invocation of a message that `decode` has let in before, without verifying it once more.

        Its kind and run id are those that `decode` gave, which the caller has.
        """

    def unlock(
        self, invocation: Invocation, paths: Sequence[str], *, listed: bool = True
    ) -> tuple[Invocation, Mapping[str, tuple[str, ...]]]:
        """Opens the encrypted inputs that the message lists and those at ``paths`` (dot paths from its root).

        Not ``listed``: only those at ``paths``. Returns the invocation with plain inputs, and by the inputs' names
        (or paths) their plain values, which must be masked from now on. Raises `DecryptionError`: then nothing of
        the invocation may leave the agent.
        """


class Tracer(Protocol):
    """Gives runs their traces; there is none where traces are off."""

    def begin(self, delivery: Delivery, invocation: Invocation) -> RunTrace:
        """The trace of a run that has arrived: the one that its message belongs to, or one of its own.

        A run that is delivered again, here or elsewhere, is given the same one. Never raises.
        """


# ── routing ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Routed:
    """The route that matched and the executor that was prepared for it."""

    route: Route
    executor: Executor


class Router(Protocol):
    """The routes in force. A reload swaps them whole; what was resolved before keeps its own."""

    def resolve(self, invocation: Invocation) -> Routed | Unrouted:
        """The first route that matches, with its executor."""


Encode = Callable[[str], str]
"""Makes any value fit to stand inside of a text that means something, e.g. a url. Never raises."""


class TemplateCompiler(Protocol):
    """Compiles one route's configuration into templates; handed to executors, which cannot see `agent.routing`.

    The expressions may read the environment variables that the route lists under ``env:``, and no others. They are
    to be rendered with `RunContext.view`: one that plainly reads a top-level name that is not in it is refused.
    """

    def template(self, value: Json, path: str, *, encode: Encode | None = None, is_name: bool = False) -> Template:
        """``value`` with ``{{ jq }}`` inside; ``path`` is where it stands. Raises `ConfigurationError`.

        ``encode`` is for what expressions put into text, where only the operator may say what the text means. What
        is the operator's own stays as it is: a sole expression, one that begins its text, and ``env.NAME``.
        ``is_name``: the text names what is acted on, so that an expression inside of it that gives null fails;
        elsewhere it reads ``null``.
        """

    def expression(self, source: str, path: str) -> Template:
        """One bare jq expression. Raises `ConfigurationError`."""

    def beginning(self, text: str) -> tuple[str, bool]:
        """What ``text`` begins with before its first expression, and whether that is all of it."""


# ── execution ────────────────────────────────────────────────────────────────────────────────────────


class EntityParts(TypedDict, total=False):
    """What may be said of an entity beside its identifier; a part that is ``None`` is not said."""

    title: str | None
    icon: str | None
    properties: JsonObject | None
    relations: JsonObject | None
    team: Json


@dataclass(frozen=True, slots=True)
class EntityChange:
    """One change to the catalogue, tied to a run. ``body`` is as Port takes it: identifier, title and so on."""

    verb: EntityVerb
    blueprint: str
    identifier: str | None
    body: JsonObject = field(default_factory=dict)


def entity_change(verb: EntityVerb, blueprint: str, identifier: str | None, parts: EntityParts) -> EntityChange:
    """The change with what is said of the entity, without what is ``None``; a number for a text becomes one."""
    said: dict[str, Json] = {
        "title": _text(parts.get("title")),
        "icon": _text(parts.get("icon")),
        "properties": parts.get("properties"),
        "relations": parts.get("relations"),
        "team": parts.get("team"),
    }
    body = {name: value for name, value in said.items() if value is not None}
    return EntityChange(verb, as_text(blueprint), _text(identifier), body)


def _text(value: Json) -> str | None:
    return None if value is None else as_text(value)


class LogStream(Protocol):
    """One stream of raw output, e.g. a child's stdout. Masked and cut into lines as it flows."""

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes. Never blocks; memory stays bounded by the run's log cap."""

    def close(self) -> None:
        """The stream ended: what was held back for masking or for a line's end goes out. Idempotent."""


WORK_DIRECTORY, OUTPUT_FILE = "work", "output"
"""What a command is given in its run's workspace. Where there is no more in it, it is removed by these names."""


class RunContext(Protocol):
    """What an executor, or a Python action, gets of its run. Belongs to the event loop's thread.

    Everything told here is masked before it leaves the process. Links, summary, label, external id and outputs
    are sent with the terminal status, or a little earlier in long runs.
    """

    @property
    def run_id(self) -> RunId | None:
        """Port's id of the run, ``None`` for messages that name none."""

    @property
    def route(self) -> str:
        """The route's name."""

    @property
    def attempt(self) -> int:
        """1 the first time; higher when a route with ``on_interrupted: rerun`` runs again."""

    @property
    def invocation(self) -> Invocation:
        """The message, typed, with encrypted inputs opened."""

    @property
    def inputs(self) -> JsonObject:
        """The user's inputs."""

    @property
    def entity(self) -> JsonObject | None:
        """The entity that the action was invoked on, if any."""

    @property
    def view(self) -> View:
        """The document that templates see."""

    @property
    def workspace(self) -> Path:
        """A private, empty directory (mode 0700), made at first use and removed after the run."""

    @property
    def deadline_s(self) -> float:
        """The monotonic time (`time.monotonic`) at which the run is timed out."""

    @property
    def cancellation(self) -> CancelReason | None:
        """Why the run is being stopped, or ``None``. A stop also cancels the executor's task."""

    @property
    def traceparent(self) -> str | None:
        """For whatever the work calls: its place in the trace (W3C Trace Context). ``None``: traces are off."""

    def log(self, message: str, *, level: str = "INFO") -> None:
        """One or more lines for the run's log. ``level``: DEBUG, INFO, WARN, ERROR (shown for workflow nodes)."""

    def traceback(self, text: str) -> None:
        """The traceback of the exception that ends the work: for the run's log, if the route asks for it."""

    def stream(self, name: str) -> LogStream:
        """A new stream of raw output; streams are masked separately and their lines interleave."""

    def mask(self, secret: str) -> None:
        """From now on ``secret`` (and its usual encodings) is masked in everything this run says."""

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """``text`` as it may leave the process: for whoever cuts a text, which must be masked before it is cut.

        ``is_cut``: it went on; then an end of it that may be the beginning of a secret is left out.
        """

    def link(self, url: str) -> None:
        """Adds a link to the run's page. A repeated one counts once."""

    def summary(self, text: str) -> None:
        """Sets the run's summary; the last one wins, and an outcome's own text wins over it."""

    def status_label(self, text: str) -> None:
        """Sets the text shown beside the run's status."""

    def external_run_id(self, value: str) -> None:
        """Sets the other side's id of this run."""

    def output(self, name: str, value: Json) -> None:
        """A named result: ``.outputs.name`` in report templates, and the output of a workflow node run."""

    def response(self, request: JsonObject, response: JsonObject) -> None:
        """The exchange with another system: ``.request`` and ``.response`` in report templates.

        Where the message says ``synchronized`` Port is given the response, too, before the run ends.
        """

    def retried(self, reason: str) -> None:
        """States that the executor tries its request once more, for metrics."""

    async def upsert_entity(
        self, blueprint: str, *, identifier: str | None = None, **parts: Unpack[EntityParts]
    ) -> None:
        """Creates the entity or merges into it, tied to the run. Raises `EntityRefusedError`."""

    async def patch_entity(self, blueprint: str, *, identifier: str, **parts: Unpack[EntityParts]) -> None:
        """Changes the given parts of an existing entity, tied to the run. Raises `EntityRefusedError`."""

    async def delete_entity(self, blueprint: str, *, identifier: str) -> None:
        """Deletes the entity, tied to the run. Raises `EntityRefusedError`."""


class Executor(Protocol):
    """Does the work of one route's runs; many at once, on the event loop."""

    async def execute(self, run: RunContext) -> Outcome:
        """Does the work and says how it ended.

        Cancelled when the run's time is up or it is stopped: must then end everything it started (child
        processes with all their descendants) and let the cancellation through. Any other exception is a
        FAILURE of the run and a defect of the executor.
        """

    async def preview(self, view: View) -> JsonObject:
        """What `execute` would do, rendered and without doing it: for ``action-agent explain``.

        Raises `TemplateError`.
        """


@runtime_checkable
class Noting(Protocol):
    """An executor that can tell before any run what it lacks on this machine; optional, for ``check``."""

    def notes(self) -> Sequence[str]:
        """What is not as the work needs it here and now, each a sentence about the route; may be mended later."""


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """The operator's settings that concern executors. Times in seconds.

    ``client_secret`` gives the one in force, which may be another one later; empty where there is none.
    ``http_quotes_answers``: whether people are shown what a target said when it refused.
    """

    port_api_base_url: str = "https://api.port.io"
    client_secret: Callable[[], str] = field(default=str, repr=False)
    kill_grace_s: float = 10.0
    state_dir: Path | None = None
    python_path: tuple[str, ...] = ()
    http_timeout_s: float = 30.0
    http_verify_ssl: bool = True
    http_ca_file: Path | None = None
    http_allow_link_local: bool = False
    http_breaker_failures: int = 10
    http_quotes_answers: bool = True
    max_concurrent_runs: int = 50


@dataclass(frozen=True, slots=True)
class ExecutorServices:
    """What executor factories may use of the agent.

    ``environment`` is the agent's own: routes pick variables from it by name; it is never passed on whole.
    """

    observer: Observer
    clock: Clock
    environment: Mapping[str, str]
    settings: ExecutorSettings


class ExecutorFactory(Protocol):
    """Knows one kind of work; the entry-point group ``agent.executors`` yields its class.

    The entry point's name is the key under which a route holds the options (``process:``, ``http:`` …); the
    class is called with `ExecutorServices` once, at start.
    """

    def options_schema(self) -> JsonObject:
        """JSON Schema (draft 2020-12) of the options; also shown by ``action-agent schema``."""

    def prepare(self, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:
        """An executor for one route. ``options`` already fits the schema; ``path`` is where it stands.

        Compiles templates and checks what can be checked without doing anything (a callable exists, a CA
        file is readable). Raises `ConfigurationError` with every problem found.
        """

    async def close(self) -> None:
        """Frees what is shared between its executors (connection pools). Idempotent."""


class Executors(Protocol):
    """All executor factories by name, for whoever reads routes."""

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names, sorted."""

    def options_schema(self, name: str) -> JsonObject:
        """The schema of one executor's options. ``KeyError`` for an unknown name."""

    def prepare(self, name: str, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:
        """An executor for one route; see `ExecutorFactory.prepare`."""


# ── reporting ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that a report is about, and the message that asked for it. ``run_id`` ``None``: there is none.

    ``trace`` is ``None`` also in an agent that was started anew since the run ended.
    """

    run_id: RunId | None
    kind: InvocationKind
    origin: str = ""
    route: str = ""
    trace: RunTrace | None = field(default=None, compare=False)

    @property
    def trace_id(self) -> str | None:
        """The id of its trace, where that is recorded."""
        return None if self.trace is None else self.trace.recorded_id


class RunReport(Protocol):
    """What one run has to say to Port: logs stream while it runs, everything else goes before the status.

    Belongs to the event loop's thread. After `finish` or `abandon` every method does nothing.
    """

    def mask(self, secret: str) -> None:
        """Masks ``secret`` in everything said from now on."""

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """``text`` as it may leave the process; see `RunContext.masked`."""

    def log(self, message: str, level: str = "INFO") -> None:
        """Adds lines to the run's log. Never blocks."""

    def stream(self, name: str) -> LogStream:
        """A new stream of raw output into the run's log."""

    def link(self, url: Json) -> None:
        """Adds a link, or every link of a list. Values that are not strings become strings."""

    def summary(self, text: Json) -> None:
        """Sets the summary."""

    def status_label(self, text: Json) -> None:
        """Sets the label beside the status."""

    def external_run_id(self, value: Json) -> None:
        """Sets the external id."""

    def output(self, name: str, value: Json) -> None:
        """Adds a named result."""

    def response(self, response: JsonObject) -> None:
        """The answer that somebody waits for in Port: ``statusCode``, ``json``, ``text``, ``truncated``.

        Told at the end, unless the other side is to end the run.
        """

    async def change_entity(self, change: EntityChange) -> None:
        """Sends a catalogue change tied to the run, with retries. Raises `EntityRefusedError`."""

    async def finish(self, outcome: Outcome) -> Reported:
        """Flushes the log, sends the rest and last the terminal status; retries until Port answers.

        Bounded only by `Reporter.hurry`. Cancelling it gives up: the status may or may not have arrived.
        """

    def abandon(self) -> None:
        """Nothing more may be said: the run was closed in Port, or is left for redelivery."""

    @property
    def size_bytes(self) -> int:
        """About how much memory waits to be sent."""


class LeftOver(Protocol):
    """The outcome of a run that ended in an earlier life of this agent, and that Port may not have been told."""

    @property
    def subject(self) -> Subject:
        """The run."""

    async def deliver(self) -> Reported:
        """Tells Port, unless the run has ended there; waits until Port answers. Cancelled, it stays left over."""


class Reporter(Protocol):
    """Opens reports, and holds what they share: the connection, the token, the request budget, the journal."""

    def open(self, subject: Subject, secrets: Iterable[str]) -> RunReport:
        """A report for one run. Where there is no run it takes everything and sends nothing."""

    def left_over(self) -> Sequence[LeftOver]:
        """What an earlier life of this agent has left to tell, as far as it was found since the last call."""

    def hurry(self, timeout_s: float) -> None:
        """The agent is stopping: every report under way, and every later one, has this long from now."""

    async def close(self) -> None:
        """Closes connections. Idempotent."""


class Standing(StrEnum):
    """How far a run is, by Port's word."""

    IN_PROGRESS = "in_progress"
    OVER = "over"
    """It has ended: nothing may be done for it, or said about it."""
    UNKNOWN = "unknown"
    """Port knows no such run, or has no way to ask for one of its kind."""


class RunLookup(Protocol):
    """Asks Port about runs."""

    async def standing(self, run_id: RunId | None, kind: InvocationKind) -> Standing:
        """How far the run is; waits until Port tells, however long that takes. Cancelling it is safe."""

    async def closed(self, run_ids: Collection[RunId]) -> frozenset[RunId]:
        """Those of these action runs that have ended in Port, as far as Port tells now; asks once, and briefly."""


# ── what the operator's page shows ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Health:
    """One probe's answer."""

    ok: bool
    reason: str = ""


HealthCheck = Callable[[], Health]
