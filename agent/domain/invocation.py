"""The message, decoded and typed: the one form in which the rest of the agent sees work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NewType

from agent.domain.json import Json, JsonObject, compact

RunId = NewType("RunId", str)
"""Port's name of a run: ``r_…``, ``run_…`` (old) or, for workflow node runs, ``wfnr_…``."""

NODE_RUN_PREFIX = "wfnr_"


class InvocationKind(StrEnum):
    """What Port asks for: an action run, a node of a workflow, or it merely tells of a change."""

    ACTION_RUN = "action_run"
    NODE_RUN = "node_run"
    CHANGE_EVENT = "change_event"


class Channel(StrEnum):
    """Which way a message came: by one of the organisation's two streams, or claimed; its content never decides."""

    RUNS = "runs"
    CHANGE_LOG = "change_log"
    POLLED = "polled"
    """A run that Port's API gave us: the connection vouches for it, and nobody signs it."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who asked for the run, whence and when; every part may be missing (``None``)."""

    user_id: str | None = None
    user_email: str | None = None
    origin: str | None = None
    at: str | None = None
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class InvocationMethod:
    """How the action's owner wants it invoked. ``type`` is upper case (KAFKA, WEBHOOK, GITLAB, …) or empty.

    A message from the runs channel without any method is of type KAFKA: its owner made up the whole payload.
    ``agent`` and ``synchronized`` are already read as flags (Port also sends "true" and "false" as strings);
    ``raw`` holds all keys as they came.
    """

    type: str = ""
    agent: bool = False
    synchronized: bool = False
    url: str | None = field(default=None, repr=False)
    http_method: str | None = None
    raw: JsonObject = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Effort:
    """What evaluating one message's expressions has cost: whoever evaluates them adds to it, and bounds it.

    ``is_renewed``: it began anew once, for what was lost was not the expressions' doing.
    """

    spent_s: float = 0.0
    is_renewed: bool = False

    def renew(self) -> None:
        """Forgets what was spent."""
        self.spent_s, self.is_renewed = 0.0, True


@dataclass(frozen=True)
class View:
    """What expressions see: ``value`` is the document that jq gets as ``.``, `text` the same as JSON text.

    The text is made once, however many expressions read it. All views of one message share their ``effort``, their
    ``notes``: what its run's log shall say of expressions that failed without failing the run, and their
    ``secrets``: what expressions took from places that nobody could name before, to be masked from then on.
    """

    value: JsonObject = field(repr=False)
    effort: Effort = field(default_factory=Effort, repr=False, compare=False)
    notes: list[str] = field(default_factory=list, repr=False, compare=False)
    secrets: list[str] = field(default_factory=list, repr=False, compare=False)
    _others: dict[Callable[[JsonObject], JsonObject], View] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def text(self) -> str:
        """``value`` as compact JSON text."""
        return compact(self.value)

    def extended(self, **parts: Json) -> View:
        """The view with further top-level names, e.g. ``response``."""
        return View({**self.value, **parts}, self.effort, self.notes, self.secrets)

    def seen_through(self, lens: Callable[[JsonObject], JsonObject]) -> View:
        """The same message for expressions that expect another document: ``lens`` of this one, made once."""
        if lens not in self._others:
            self._others[lens] = View(lens(self.value), self.effort, self.notes, self.secrets)
        return self._others[lens]


@dataclass(frozen=True)
class Invocation:
    """One message of ours to act on. Immutable, but for what it caches and its ``effort``.

    ``run_id`` is ``None`` where the message names no run: then nothing is ever reported. ``document`` is the
    message as Port signed it, so without the signature's headers, without the tutorial's outer wrap, and with
    encrypted inputs closed until intake unlocks them. ``encrypted`` names the inputs that the message itself lists
    as encrypted. What a user typed is left out of ``repr``, which finds its way into logs.
    """

    kind: InvocationKind
    run_id: RunId | None
    action: str | None
    blueprint: str | None
    trigger: Trigger
    entity: JsonObject | None = field(repr=False)
    entity_id: str | None
    inputs: JsonObject = field(repr=False)
    method: InvocationMethod
    document: Json = field(repr=False)
    encrypted: tuple[str, ...] = ()
    effort: Effort = field(default_factory=Effort, repr=False, compare=False)

    @property
    def for_agents(self) -> bool:
        """Whether Port addressed the message to an agent, so that nobody else will end the run."""
        return self.method.agent

    @cached_property
    def view(self) -> View:
        """The document for templates: ``.run .action .inputs .entity .trigger .message``, as Port's own names.

        ``.run.attempt`` is 1: whoever executes the run once more says so.
        """
        trigger = self.trigger
        return View(
            {
                "run": {"id": self.run_id, "kind": str(self.kind), "attempt": 1},
                "action": {
                    "identifier": self.action,
                    "blueprint": self.blueprint,
                    "invocationMethod": dict(self.method.raw),
                    "encryptedProperties": list(self.encrypted),
                },
                "inputs": self.inputs,
                "entity": self.entity if self.entity is not None else _entity_stub(self.entity_id),
                "trigger": {
                    "by": {"user": {"id": trigger.user_id, "email": trigger.user_email}},
                    "origin": trigger.origin,
                    "at": trigger.at,
                    "operation": trigger.operation,
                },
                "message": self.document,
            },
            self.effort,
        )


def _entity_stub(entity_id: str | None) -> Mapping[str, Json] | None:
    """A message may name its entity without carrying it; ``.entity.identifier`` works all the same."""
    return None if entity_id is None else {"identifier": entity_id}
