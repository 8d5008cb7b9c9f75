"""Writes the mappings of Port's own agent as routes, in the language of the routes file.

Whatever a route does otherwise than its mapping stands in `Converted.remarks`, which become comments of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from agent.commands.clear_secrets import in_clear_text
from agent.commands.route_expressions import (
    is_number,
    is_object,
    is_sure,
    is_text,
    literal,
    of_the_exchange,
    of_the_message,
    rewritten,
    without_other_input,
)
from agent.commands.route_values import CAPITALS, TEXT_OR_NULL, of_headers, of_query
from agent.domain.errors import ConfigurationError
from agent.domain.json import Json, JsonObject, as_object
from agent.executors.http_request import header_name_problem
from agent.executors.http_url import UnsendableError, parsed, put_together
from agent.net.headers import CONNECTION_HEADERS
from agent.routing.document import Document
from agent.routing.environment_secrets import is_public_name
from agent.routing.expressions import Expressions, environment_reads
from agent.routing.jq_tokens import tokenize
from agent.routing.mapping import ANY_KIND, REPORT_KEYS, is_expression, is_true_word, mappings_in
from agent.routing.mapping_templates import as_source, is_hollow
from agent.routing.places import item, member
from agent.routing.templates import kind, sole_expression

_OWN_SECRET = "PORT_CLIENT_SECRET"  # noqa: S105 - the variable's name
_ADDRESS = "GITLAB_URL"
"""The one variable that every old agent may have and that no token is named like."""
_ADDRESSED = (
    '(.action.invocationMethod.agent | tostring | ascii_downcase) == "true"\n'
    'and (.run.id != null or (.action.invocationMethod.url // "") != "")'
)
"""What Port's own agent acts on at all: messages for agents, with a run or a target."""
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
_DOT_PATH = re.compile(r"[^.\s*]+(\.[^.\s*]+)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BY_ACTION = re.compile(r'\s*\.action\s*==\s*"([A-Za-z0-9][A-Za-z0-9_.-]{0,90})"\s*')


@dataclass(frozen=True, slots=True)
class Known:
    """The environment that the old agent was seen with: names alone, and which of them were seen to hold no secret.

    Those of ``secret`` were said to be one. Of a variable that was not seen only its name tells: what that does not
    show to be harmless is masked.
    """

    names: Sequence[str] = ()
    plain: frozenset[str] = frozenset()
    secret: frozenset[str] = frozenset()

    def is_masked(self, name: str) -> bool:
        """Whether the variable's value may be a secret."""
        looks_plain = name in self.plain or (name not in self.names and is_public_name(name))
        return name in self.secret or not looks_plain


@dataclass(frozen=True, slots=True)
class Converted:
    """One mapping as a route; ``route`` is ``None`` where there is nothing to write: ``remarks`` say why.

    ``place`` is the mapping's place in its file, ``line`` where that is; ``takes_all``: its `enabled` is true.
    ``hopeless`` names what is null for every message, so that nothing can be sent, as by the mapping.
    """

    place: str
    line: str
    route: JsonObject | None
    remarks: tuple[str, ...] = ()
    takes_all: bool = False
    hopeless: tuple[str, ...] = ()


def convert(document: Document, expressions: Expressions, known: Known) -> list[Converted]:
    """Every mapping of a file that `agent.routing.mapping.MappingReader` takes, in its order."""
    converted: list[Converted] = []
    taken: set[str] = set()
    conditions: dict[str, str] = {}
    takes_all = ""
    for index, (place, raw) in enumerate(mappings_in(document)):
        one = _Mapping(raw, place, expressions, known)
        line, condition = document.at(place), one.condition()
        if takes_all:
            because = f"never reached: {takes_all} before it takes every message"
        elif condition is None:
            because = one.why_never
        elif condition in conditions:
            because = f"never reached: {conditions[condition]} before it has the same `enabled`"
        else:
            route = one.route(condition, _free_name(one.wanted_name(index), taken))
            is_all = condition == _ADDRESSED
            converted.append(Converted(place, line, route, tuple(one.remarks), is_all, tuple(one.hopeless)))
            conditions[condition] = place
            takes_all = place if is_all else ""
            continue
        converted.append(Converted(place, line, None, (because,)))
    return converted


def _free_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    taken.add(name)
    return name


@dataclass
class _Mapping:
    """One mapping on its way; ``remarks`` grow with what its route does otherwise."""

    raw: JsonObject
    place: str
    expressions: Expressions
    known: Known
    remarks: list[str] = field(default_factory=list)
    hopeless: list[str] = field(default_factory=list)
    why_never: str = ""
    _variables: dict[str, None] = field(default_factory=dict)
    _reads_any_variable: bool = False

    def condition(self) -> str | None:
        """The route's ``when``; ``None`` where the mapping takes nothing, and `why_never` says why."""
        value = self.raw.get("enabled", True)
        if not is_expression(value):
            self.why_never = "" if is_true_word(value) else "off: `enabled` is false"
            return _ADDRESSED if is_true_word(value) else None
        source = self._usable(value, member(self.place, "enabled"))
        if source is None:
            self.why_never = "takes no message: jq cannot compile its `enabled`"
            return None
        seen = rewritten(source, of_the_message, ".message")
        return f"{_ADDRESSED}\nand {seen if _BY_ACTION.fullmatch(source) else f'({seen}) == true'}"

    def wanted_name(self, index: int) -> str:
        """The action's, where `enabled` asks for one and nothing else."""
        enabled = self.raw.get("enabled")
        found = _BY_ACTION.fullmatch(enabled) if isinstance(enabled, str) else None
        return found[1] if found else f"mapping-{index + 1}"

    def route(self, condition: str, name: str) -> JsonObject:
        """The route, as it stands in the file."""
        http = self._http()
        if clear := list(in_clear_text(http)):
            self.remarks.append(
                f"what may be a secret stands here in clear text, as in the mapping: {', '.join(clear)}; better "
                "put it into a variable, and that under `env` and `secrets`"
            )
        report = self._report()
        decrypt = self._decrypt()
        variables, secrets = self._environment()
        route: dict[str, Json] = {
            "name": name,
            "match": {"kind": list(ANY_KIND), "when": condition},
        }
        for key, value in (("env", variables), ("secrets", secrets), ("decrypt", decrypt)):
            if value:
                route[key] = list(value)
        route["http"] = http
        if report:
            route["report"] = report
        return route

    def _http(self) -> dict[str, Json]:
        raw = self.raw
        http: dict[str, Json] = {"mode": "message"}
        for name in ("method", "url"):
            value = raw.get(name)
            if isinstance(value, str):
                http[name] = self._written(value, member(self.place, name), fits=_FITS[name])
                if http[name] == "{{ null }}" or value.strip() == "empty":
                    self.hopeless.append(name)
        if self.hopeless:
            remark = (
                f"fails every message that it takes, for its {' and '.join(self.hopeless)} can only be null; "
                "a fixed text needs quotes of its own in the mapping, and none here"
            )
            self.remarks.insert(0, remark)
        http["headers"] = self._headers(raw.get("headers"))
        if query := self._query(raw.get("query")):
            http["query"] = query
        body = raw.get("body")
        http["body"] = self._value("." if body is None else body, member(self.place, "body"))
        http["body_format"] = "json"
        http["follow_redirects"] = True
        return http

    def _headers(self, headers: Json) -> Json:
        """Without ``headers`` none, not those of the action. What comes out as no text fails the run."""
        place = member(self.place, "headers")
        if isinstance(headers, str):
            return _braced(f"{self._expression(headers, place)}\n{of_headers(headers)}")
        kept: dict[str, Json] = {}
        for name, value in as_object(headers).items():
            source = as_source(value)
            if is_hollow(value) or source is None:
                continue
            if name.lower() in CONNECTION_HEADERS:
                self.remarks.append(f"header {name!r} is left out, as in the mapping: it is part of the connection")
            elif reason := header_name_problem(name) or (
                "" if isinstance(source, str) else f"it is {kind(source)}"
            ):
                self.remarks.append(
                    f"header {name!r} is left out: the mapping's requests all fail for it ({reason})"
                )
            elif isinstance(source, str):
                guard = f" | {TEXT_OR_NULL.format(json.dumps(f'header {name} is no text'))}"
                kept[_key(name)] = self._written(
                    source, member(place, name), guard="" if is_text(source) else guard
                )
        return kept

    def _query(self, query: Json) -> Json:
        """Nothing where it adds nothing."""
        place = member(self.place, "query")
        if isinstance(query, str):
            text = literal(query)
            if text is not None:
                return _parameters(text)
            if not is_object(query):
                self.remarks.append(
                    "query: should it be a text with a broken percent-encoding, it is sent as it is"
                )
            return _braced(f"first({self._expression(query, place)}, null)\n{of_query(query)}")
        return {
            _key(name): self._parameter(as_source(part) if isinstance(part, bool) else part, member(place, name))
            for name, part in as_object(query).items()
            if not is_hollow(part)
        }

    def _parameter(self, value: Json, place: str) -> Json:
        """One value of the query; true and false are sent as `True` and `False`."""
        match value:
            case str():
                is_none = is_text(value) or is_number(value)
                return self._written(value, place, guard="" if is_none else f" | {CAPITALS}")
            case list():
                items = [(part, item(place, index)) for index, part in enumerate(value)]
                return [
                    self._value(part, at) if isinstance(part, list) else self._parameter(part, at)
                    for part, at in items
                ]
            case bool():
                return str(value)
            case _:
                return self._value(value, place)

    def _report(self) -> dict[str, Json]:
        raw, place = as_object(self.raw.get("report")), member(self.place, "report")
        written: dict[str, Json] = {}
        for theirs, ours in REPORT_KEYS.items():
            value = raw.get(theirs)
            if not isinstance(value, str):
                continue
            source = self._usable(value, member(place, theirs))
            if source is None:
                continue
            text = literal(source)
            if text is not None and not text.startswith((".", "$")):
                written[ours] = text
                continue
            whole = "{body: .message, request: .request, response: .response}"
            written[ours] = f"{{{{ {rewritten(source, of_the_exchange, whole)} }}}}"
        return written

    def _decrypt(self) -> list[Json]:
        paths = self.raw.get("fieldsToDecryptPaths")
        listed = [str(path) for path in paths] if isinstance(paths, list) else []
        fit = [path for path in dict.fromkeys(listed) if _DOT_PATH.fullmatch(path)]
        for path in listed:
            if path not in fit:
                self.remarks.append(
                    f"decrypt: {path!r} is left out: it is no dot path, and opens nothing in the mapping"
                )
        return list(fit)

    def _environment(self) -> tuple[list[Json], list[Json]]:
        """The names under ``env`` and under ``secrets``."""
        names = dict.fromkeys(self._variables)
        computed = [name for name in self.known.names if name not in names] if self._reads_any_variable else []
        if self._reads_any_variable:
            names |= dict.fromkeys(computed)
            fit = [name for name in computed if _VARIABLE.fullmatch(name)]
            listed = (
                f"{', '.join(fit)} stand there because they are known: delete of them, there and under `secrets`, "
                "what it never gives"
                if fit
                else "No more are known: give --env or --values"
            )
            self.remarks.append(
                "computes the name of a variable from the message: every name that it may give must stand under "
                f"`env`, and under `secrets`, since it may be a token's. {listed}; add those of projects to come"
            )
        for name in list(names):
            if name == _OWN_SECRET:
                self.remarks.append(f"env.{name} is the agent's own and not given to routes: it is null there")
            elif not _VARIABLE.fullmatch(name):
                self.remarks.append(
                    f"the variable {name!r} cannot be listed under `env`, which takes letters, digits, _ . and -: "
                    "keep the mapping file for this one, or give the variable another name"
                )
            else:
                continue
            del names[name]
        tokens = {name for name in computed if name != _ADDRESS}
        return list(names), [name for name in names if name in tokens or self.known.is_masked(name)]

    def _value(self, value: Json, place: str) -> Json:
        """A value with jq in its texts, as one with ``{{ jq }}`` in them."""
        match value:
            case str():
                return self._written(value, place)
            case Mapping():
                return {
                    _key(name): self._value(part, member(place, name))
                    for name, part in value.items()
                    if not is_hollow(part)
                }
            case list():
                return [self._value(part, item(place, index)) for index, part in enumerate(value)]
            case _:
                return value

    def _written(self, text: str, place: str, fits: re.Pattern[str] | None = None, guard: str = "") -> Json:
        """One expression as a template, with ``guard`` behind it; a constant text as it is, where it ``fits``."""
        source = self._usable(text, place)
        fixed = None if source is None else literal(source)
        is_fit = fixed is not None and (fits is None or fits.fullmatch(fixed) is not None)
        if fixed is not None and is_fit and (fits is not _URL or _callable(fixed)):
            return fixed
        expression = self._expression(text, place, source)
        return _braced(expression if source is None else expression + guard)

    def _expression(self, text: str, place: str, source: str | None = None) -> str:
        """The expression over the view; null where the mapping's fails."""
        text = text if any(tokenize(text)) else "."
        source = self._usable(text, place) if source is None else source
        if source is None:
            self.remarks.append(
                f"{_within(place, self.place)}: jq cannot compile it, so it is null for every message"
            )
            return "null"
        seen = rewritten(source, of_the_message, ".message")
        if is_sure(source) and not source.endswith("\n"):
            return seen
        return f"({seen})?"

    def _usable(self, text: str, place: str) -> str | None:
        """The source in words that routes may use; ``None`` for one that jq cannot compile. Notes what it reads."""
        try:
            self.expressions.for_mapping(text, place)
        except ConfigurationError:
            return None
        tokens = list(tokenize(text))
        for name in environment_reads(tokens):
            if name is None:
                self._reads_any_variable = True
            else:
                self._variables[name] = None
        source = without_other_input(text, tokens)
        return f"{source}\n" if "#" in source else source


_URL = re.compile(r"https?://[^/\s?#]+.*")
_FITS = {"method": re.compile("|".join(sorted(_METHODS))), "url": _URL}


def _callable(url: str) -> bool:
    try:
        parsed(put_together(url))
    except UnsendableError:
        return False
    return True


def _braced(expression: str) -> str:
    template = f"{{{{ {expression} }}}}"
    assert sole_expression(template) is not None, f"not one expression: {expression}"  # noqa: S101 - jq compiled it
    return template


def _parameters(text: str) -> Json:
    """A constant query ``a=1&b=2`` as an object."""
    pairs: dict[str, list[Json]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        pairs.setdefault(_key(name), []).append(_key(value))
    return {name: values if len(values) > 1 else values[0] for name, values in pairs.items()}


def _key(name: str) -> str:
    """A member's name, or a text, so that it stays what it is."""
    return name if "{{" not in name else f"{{{{ {json.dumps(name, ensure_ascii=False)} }}}}"


def _within(place: str, mapping: str) -> str:
    return place.removeprefix(mapping).lstrip(".")
