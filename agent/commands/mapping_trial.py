"""Tries a recorded message on a mapping file: which mapping takes it, and what of that leads nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from agent.domain.errors import ConfigurationError, DecryptionError, Problem, TemplateError
from agent.domain.invocation import Channel, Invocation, View
from agent.domain.json import Json, JsonObject, as_object
from agent.intake.reader import MessageIntake
from agent.ports import Decoded, NotOurs, Unacceptable, Unexecutable, Verdict
from agent.routing.document import Document
from agent.routing.expressions import Expressions, environment_reads, has_default
from agent.routing.jq_tokens import tokenize
from agent.routing.mapping import mappings_in
from agent.routing.mapping_lint import Expression, document_paths, expressions_of, shown_path
from agent.routing.places import item, member
from agent.routing.route_set import RouteSet
from agent.routing.templates import kind

_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class MappingTrial:
    """Messages on one mapping file. ``intake`` must let in what is not signed; ``environment`` is the agent's."""

    document: Document
    routes: RouteSet
    expressions: Expressions
    intake: MessageIntake
    environment: Mapping[str, str]

    def lines(self, body: bytes, name: str) -> Iterator[str]:
        """What there is to say of one message, with names and never with values of it.

        ``name`` is its file's, which each line says. Raises `ConfigurationError` where it is no message at all.
        """
        verdict = self.intake.decode(body, Channel.RUNS)
        if not _is_for_agents(verdict):
            of_change_log = self.intake.decode(body, Channel.CHANGE_LOG)
            verdict = of_change_log if _is_for_agents(of_change_log) else verdict
        match verdict:
            case Decoded(invocation):
                yield from self._tried(invocation, name)
            case Unacceptable(_, detail) | Unexecutable(_, detail):
                raise ConfigurationError(Problem(name, f"is no message that can be tried: {detail}"))
            case NotOurs():
                yield f"{name}: is not for agents (`agent: true`): no mapping takes it"

    def _tried(self, invocation: Invocation, name: str) -> Iterator[str]:
        verdicts = self.routes.explain(invocation)
        taken = bool(verdicts) and verdicts[-1].reason is None
        for index, verdict in enumerate(verdicts[: len(verdicts) - taken]):
            reason = str(verdict.reason).replace("`when`", "`enabled`", 1)
            yield f"{name}: {item('', index)} does not take it: {reason}"
        if not taken:
            yield f"{name}: no mapping takes it"
            return
        path, raw = list(mappings_in(self.document))[len(verdicts) - 1]
        yield f"{name}: {path} takes it ({self.document.at(path)})"
        paths = raw.get("fieldsToDecryptPaths")
        yield from self._unlisted(invocation, paths if isinstance(paths, list) else [], path, name)
        opened, problem = self._opened(invocation, [str(one) for one in paths] if isinstance(paths, list) else [])
        if problem:
            yield f"{name}: {problem}"
        message = as_object(opened.document)
        for expression in expressions_of(raw, path):
            if expression.path == member(path, "enabled"):
                continue
            if said := "; ".join(self._said(expression, message)):
                yield f"{name}: {self.document.at(expression.path)}: {expression.path}: {said}"

    def _unlisted(self, invocation: Invocation, paths: Sequence[Json], path: str, name: str) -> Iterator[str]:
        """Of what is to be decrypted, what the message does not have."""
        for index, one in enumerate(paths):
            place = item(member(path, "fieldsToDecryptPaths"), index)
            steps = str(one).split(".")
            missing = where_it_ends(invocation.document, steps)
            if missing:
                yield f"{self.document.at(place)}: {place}: nothing to decrypt in {name}: {missing}"
            else:
                yield f"{self.document.at(place)}: {place}: is in {name}"

    def _opened(self, invocation: Invocation, paths: Sequence[str]) -> tuple[Invocation, str]:
        """The message with its secrets open, as far as they can be opened here, and why they cannot."""
        try:
            return self.intake.unlock(invocation, paths, listed=False)[0], ""
        except DecryptionError as error:
            return invocation, f"goes on with secrets closed, for {error}"

    def _said(self, expression: Expression, message: JsonObject) -> Iterator[str]:
        tokens = list(tokenize(expression.source))
        for variable in dict.fromkeys(environment_reads(tokens)):
            if variable is not None and variable not in self.environment and not has_default(tokens):
                yield f"`env.{variable}`: there is no such variable here"
        if expression.is_report:
            yield from self._ends(expression, {"body": message})
            return
        try:
            value = self.expressions.for_mapping(expression.source, expression.path).render(View(message))
        except ConfigurationError:
            return  # told when the file was read
        except TemplateError as error:
            yield f"fails on this message: {str(error).removeprefix(f'{expression.path}: ')}"
        else:
            if value is not None or [token.text for token in tokens] == ["null"]:
                return
            yield "gives null on this message"
        yield from self._ends(expression, message)

    def _ends(self, expression: Expression, document: JsonObject) -> Iterator[str]:
        """For each plain path of the expression into what is known before the request: where it leads nowhere."""
        tokens = list(tokenize(expression.source))
        if has_default(tokens):
            return
        for steps in dict.fromkeys(document_paths(tokens)):
            if steps[0] in document or not expression.is_report:
                missing = where_it_ends(document, steps)
                if missing:
                    yield f"`{shown_path(steps)}`: {missing}"


def _is_for_agents(verdict: Verdict) -> bool:
    return isinstance(verdict, Decoded) and verdict.invocation.for_agents


def where_it_ends(document: Json, steps: Sequence[str]) -> str:
    """Why ``steps`` lead to nothing, with the names that are there; empty text where they lead to a value."""
    value = document
    for index, step in enumerate(steps):
        place = shown_path(steps[:index])
        if isinstance(value, Mapping):
            if step not in value:
                return f"`{place}` has {_names(value, step)}"
            value = value[step]
        elif isinstance(value, list):
            if not step.isdecimal():
                return f"`{place}` is a list"
            if int(step) >= len(value):
                return f"`{place}` is a list of {len(value)}"
            value = value[int(step)]
        else:
            return f"`{place}` is {kind(value)}"
    return f"`{shown_path(steps)}` is null" if value is None else ""


def _names(value: JsonObject, near: str) -> str:
    """The names of an object's members, those that read like ``near`` first."""
    names = list(map(str, value))
    close = get_close_matches(near, names, n=3)
    ordered = [*close, *(name for name in names if name not in close)]
    more = len(ordered) - _MOST_NAMES
    shown = ", ".join(ordered[:_MOST_NAMES]) or "no members"
    return f"{shown} and {more} more" if more > 0 else shown
