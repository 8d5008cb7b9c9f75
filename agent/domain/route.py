"""Routes and the table of them: which executor an invocation goes to, with which options.

A `Route` is data plus compiled templates; compiling and reading files is `agent.routing`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Protocol

from agent.domain.errors import TemplateError, UnevaluatedError
from agent.domain.invocation import Invocation, InvocationKind, View
from agent.domain.json import Json

DEFAULT_ATTEMPTS = 2
"""How often a run may start in all, where its route does not say."""


class Template(Protocol):
    """A compiled piece of configuration: plain JSON with ``{{ jq }}`` inside, or a bare jq expression."""

    def render(self, view: View) -> Json:
        """The value for this message. Bounded in time.

        Raises `TemplateError` where an expression fails, its subclass `UnevaluatedError` where it ran out of time.
        """


class OnInterrupted(StrEnum):
    """What becomes of a run that had started when its agent died."""

    FAIL = "fail"
    RERUN = "rerun"


class EntityVerb(StrEnum):
    """What to do with a catalogue entity."""

    UPSERT = "upsert"
    PATCH = "patch"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class EntityRule:
    """An entity that a route ties to its runs; written after the execution, if ``when`` allows.

    ``body`` renders to an object with ``blueprint``, ``identifier`` and, for upsert and patch, ``title``,
    ``properties``, ``relations``, ``team``, ``icon``. ``on``: outcomes after which it is applied.
    """

    body: Template
    verb: EntityVerb = EntityVerb.UPSERT
    when: Template | None = None
    on: frozenset[str] = frozenset({"success"})


@dataclass(frozen=True, slots=True)
class ReportRule:
    """Expressions over the view after the execution (``.response .request .outputs``); each may be absent.

    One that is null or fails changes nothing and says so in the run's log. ``refusal`` is nobody's expression: what
    it gives, if anything, is the summary in place of the executor's words for a failure; it never fails.
    """

    link: Template | None = None
    summary: Template | None = None
    status_label: Template | None = None
    external_run_id: Template | None = None
    status: Template | None = None
    refusal: Template | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which invocations a route is for. Empty patterns match all; patterns are globs, case matters.

    ``kinds`` and ``types`` compare with the invocation's kind and invocation method type. Change events match
    only where ``kinds`` names them: a route for an action must not run whenever somebody edits an entity.
    """

    actions: tuple[str, ...] = ()
    blueprints: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    when: Template | None = None

    def explain(self, invocation: Invocation) -> str | None:
        """``None`` if it matches, else the first reason why not. Raises `TemplateError` from ``when``."""
        if invocation.kind is InvocationKind.CHANGE_EVENT and not self.kinds:
            return f"it is a {invocation.kind}, which only a route with `kind: {invocation.kind}` takes"
        for label, patterns, actual in (
            ("kind", self.kinds, str(invocation.kind)),
            ("type", self.types, invocation.method.type),
            ("action", self.actions, invocation.action),
            ("blueprint", self.blueprints, invocation.blueprint),
        ):
            if patterns and not _matches_any(patterns, actual):
                given = f"{label} is {actual!r}" if actual else f"it has no {label}"
                return f"{given}, not {' or '.join(map(repr, patterns))}"
        if self.when is not None:
            verdict = self.when.render(invocation.view)
            if verdict is not True:
                return f"`when` gave {_said(verdict)}, not true"
        return None


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of the routes file: what it is for, who executes it, and how the run is treated.

    ``executor`` is a name from the entry-point group ``agent.executors``, ``options`` what stands under it.
    ``timeout_s`` bounds the execution; every route has one, for a run that never ends would pin the
    committed offset. ``max_concurrent`` of ``None`` means: as many as the agent runs at all. ``key`` renders
    to a value; runs with equal keys run one after another, in their order; null means no key. ``decrypt``
    lists dot paths from the message's root, beside what the message lists itself, unless ``decrypts_listed`` is
    off; ``secrets`` names environment variables whose values are masked.
    """

    name: str
    match: Match
    executor: str
    options: Mapping[str, Json] = field(default_factory=dict)
    timeout_s: float = 3600.0
    max_concurrent: int | None = None
    key: Template | None = None
    decrypt: tuple[str, ...] = ()
    decrypts_listed: bool = True
    secrets: tuple[str, ...] = ()
    entities: tuple[EntityRule, ...] = ()
    report: ReportRule = field(default_factory=ReportRule)
    on_interrupted: OnInterrupted = OnInterrupted.FAIL
    max_attempts: int = DEFAULT_ATTEMPTS
    traceback: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Unrouted:
    """No route matched. ``reason`` is a sentence for the run's page; ``nearest`` the closest route's name.

    ``undecided``: whether ``nearest`` matches is not known, as the evaluation of its ``when`` was broken off; no
    later route was asked, for the message may have been meant for this one. ``failed``: so did some ``when``.
    """

    reason: str
    nearest: str | None = None
    undecided: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One route's answer: ``reason`` is ``None`` where it matched; for ``undecided`` see `Unrouted`."""

    route: str
    reason: str | None
    undecided: bool = False


class RoutingTable:
    """The routes in their order; the first match wins. Immutable: a reload makes a new one.

    Routes that name their actions exactly are found by an index, so that the cost of a resolve does not
    grow with their number.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        self._by_action: dict[str, list[int]] = {}
        self._others: list[int] = []
        self._names: dict[str, Route] = {}
        self._nearest = lru_cache(maxsize=1024)(self._nearest_anew)
        for index, route in enumerate(self.routes):
            if route.match.actions and not any(map(_is_glob, route.match.actions)):
                for action in dict.fromkeys(route.match.actions):
                    self._by_action.setdefault(action, []).append(index)
            else:
                self._others.append(index)
            for word in (*route.match.actions, route.name):
                self._names.setdefault(word, route)

    def resolve(self, invocation: Invocation) -> Route | Unrouted:
        """The first route that matches.

        A ``when`` that fails is no match; its error stands in the reason. One that ran out of time ends the search:
        a later, wider route must not take what may be another's.
        """
        errors: list[str] = []
        for route in self._candidates(invocation):
            verdict = _verdict(route, invocation)
            if verdict.undecided:
                reason = f"whether route {route.name!r} matches is not known, and no later one was tried"
                return Unrouted(f"{reason}: {verdict.reason}", route.name, undecided=True)
            if verdict.reason is None:
                return route
            if verdict.reason.startswith("`when` failed"):
                errors.append(f"route {route.name}: {verdict.reason}")
        return self._unrouted(invocation, errors)

    def explain(self, invocation: Invocation) -> list[Verdict]:
        """Every route's verdict, in order, up to and including the first match or the first that is undecided."""
        verdicts: list[Verdict] = []
        for route in self.routes:
            verdicts.append(_verdict(route, invocation))
            if verdicts[-1].reason is None or verdicts[-1].undecided:
                break
        return verdicts

    def _candidates(self, invocation: Invocation) -> list[Route]:
        exact = self._by_action.get(invocation.action or "", [])
        merged = sorted([*exact, *self._others]) if exact else self._others
        return [self.routes[i] for i in merged]

    def _unrouted(self, invocation: Invocation, errors: Sequence[str]) -> Unrouted:
        nearest = self._nearest(invocation.action or "")
        subject = f"action {invocation.action!r}" if invocation.action else "a message without an action's name"
        blueprint = f" on blueprint {invocation.blueprint!r}" if invocation.blueprint else ""
        reason = f"no route matched {subject}{blueprint}"
        if nearest is not None:
            why = _verdict(nearest, invocation).reason or "it matches now"
            reason += f"; the nearest route is {nearest.name!r}: {why}"
        name = nearest.name if nearest is not None else None
        return Unrouted("; ".join([reason, *errors]), name, failed=bool(errors))

    def _nearest_anew(self, action: str) -> Route | None:
        """The route whose name or actions read most like ``action``; slow, hence remembered."""
        close = get_close_matches(action, self._names, n=1, cutoff=0.5)
        return self._names[close[0]] if close else None


def _verdict(route: Route, invocation: Invocation) -> Verdict:
    try:
        return Verdict(route.name, route.match.explain(invocation))
    except UnevaluatedError as error:
        return Verdict(route.name, f"`when` was not evaluated: {error}", undecided=True)
    except TemplateError as error:
        return Verdict(route.name, f"`when` failed: {error}")


def _said(verdict: Json) -> str:
    """What a condition gave, without a value of the message."""
    if verdict is None or isinstance(verdict, bool):
        return "null" if verdict is None else str(verdict).lower()
    return "a value that is no boolean"


def _matches_any(patterns: Sequence[str], actual: str | None) -> bool:
    return actual is not None and any(actual == p or fnmatchcase(actual, p) for p in patterns)


def _is_glob(pattern: str) -> bool:
    return any(c in pattern for c in "*?[")
