"""Finds what is written in a mapping file to no effect, or to another one than its author expects.

Port's own agent says nothing of any of it. The file stays in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from agent.domain.errors import Problem
from agent.domain.json import Json, JsonObject, as_object
from agent.routing.complaints import did_you_mean
from agent.routing.document import Document
from agent.routing.jq_dialect import DIFFERENCES, differences
from agent.routing.jq_reroot import document_reads
from agent.routing.jq_tokens import Token, tokenize
from agent.routing.mapping import REPORT_KEYS, REQUEST_KEYS, TRUE_WORDS, is_expression, is_true_word, mappings_in
from agent.routing.places import item, member

KEYS = ("enabled", *REQUEST_KEYS, "report", "fieldsToDecryptPaths")
"""What a mapping may say."""

UNQUOTED = "is read as jq"
"""How the finding begins that a fixed text lacks its quotes."""

_IN_ROUTES = frozenset({"name", "match", "when", "env", "secrets", "decrypt", "http", "mode", "timeout"})
_OF_THE_METHOD = ("url", "type", "method", "agent", "synchronized", "projectName", "groupName", "defaultRef")
_EXCHANGE = {
    "request": ("method", "url", "body", "headers", "query"),
    "response": ("statusCode", "headers", "text", "json"),
}
_RESPONSE_WORDS = {
    **dict.fromkeys(("status", "status_code", "code", "statuscode"), ".response.statusCode"),
    **dict.fromkeys(("body", "data", "content"), ".response.json, or .response.text"),
}
_METHOD_WORD = re.compile(r"(?i)\s*(get|head|post|put|patch|delete|options)\s*")
_PLAIN_URL = re.compile(r"\s*https?://\S*\s*")
_PLAIN_HEADER = re.compile(r"\s*(?:(?:Bearer|Basic|Token|GenieKey)\s+\S+|[a-z]+/[a-z0-9.+-]+(?:;.*)?)\s*")
_WITH_VARIABLE = re.compile(r"\s*([A-Za-z]+)\s+(?:env\.|\$ENV\.|\$)([A-Za-z_][A-Za-z0-9_]*)\s*")
_DOT_PATH = re.compile(r"[^.\s*\[\]$]+(\.[^.\s*\[\]$]+)*")
_COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">=", "and", "or", "not", "//", "if", "|"])


def lint(document: Document) -> list[Problem]:
    """Every finding, in the order of the file; those of a file that is no list of objects are not looked for."""
    found: list[Problem] = []
    takes_all = ""
    for path, raw in mappings_in(document):
        if takes_all:
            message = f"is never reached: {takes_all} before it takes every message"
            hint = "put it before that one, or say there in `enabled` which messages it is for"
            found.append(document.problem(path, message, hint))
        found += _Mapping(document, raw, path).findings()
        if not takes_all and is_true_word(raw.get("enabled", True)):
            takes_all = path
    return found


def takes_everything(document: Document) -> bool:
    """Whether there is a mapping whose ``enabled`` is true as it stands, or missing."""
    return any(is_true_word(raw.get("enabled", True)) for _, raw in mappings_in(document))


def dialect_notes(document: Document) -> list[str]:
    """One line for each word whose meaning changed since jq 1.5, with the places that use it."""
    places: dict[str, list[str]] = {}
    for path, raw in mappings_in(document):
        for expression in expressions_of(raw, path):
            for word in differences(expression.source):
                places.setdefault(word, []).append(expression.path)
    return [
        f"{document.at(paths[0])}: `{word}` in {', '.join(paths)}: {DIFFERENCES[word]}"
        for word, paths in places.items()
    ]


@dataclass(frozen=True, slots=True)
class Expression:
    """One jq expression of a mapping: where it stands, and whether it sees the exchange rather than the message."""

    source: str
    path: str
    is_report: bool = False


def expressions_of(raw: JsonObject, path: str) -> Iterator[Expression]:
    """Every jq expression of one mapping that stands at ``path``, in the order in which they are evaluated."""
    enabled = raw.get("enabled", True)
    if is_expression(enabled):
        yield Expression(enabled, member(path, "enabled"))
    for name in REQUEST_KEYS:
        for place, source in _texts(raw.get(name), member(path, name)):
            yield Expression(source, place)
    report = as_object(raw.get("report"))
    for name in REPORT_KEYS:
        text = report.get(name)
        if isinstance(text, str):
            yield Expression(text, member(member(path, "report"), name), is_report=True)


def _texts(value: Json, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case Mapping():
            for name, part in value.items():
                yield from _texts(part, member(path, name))
        case list():
            for index, part in enumerate(value):
                yield from _texts(part, item(path, index))
        case _:
            pass


@dataclass(frozen=True, slots=True)
class _Mapping:
    """One mapping, looked over."""

    document: Document
    raw: JsonObject
    path: str

    def findings(self) -> Iterator[Problem]:
        """All that there is to say."""
        yield from self._unknown(self.raw, KEYS, self.path)
        report = self.raw.get("report")
        if isinstance(report, Mapping):
            yield from self._unknown(report, tuple(REPORT_KEYS), member(self.path, "report"))
        yield from self._enabled()
        for expression in expressions_of(self.raw, self.path):
            yield from self._expression(expression)
        yield from self._status(as_object(report).get("status"))
        yield from self._paths_to_decrypt()

    def _unknown(self, raw: JsonObject, known: Sequence[str], path: str) -> Iterator[Problem]:
        for name in raw:
            if name not in known:
                hint = did_you_mean(name, known)
                if not hint.startswith("did") and name in _IN_ROUTES:
                    hint = "that is a key of the routes file"
                yield self._problem(member(path, name), f"unknown key `{name}`: it has no effect", hint)

    def _enabled(self) -> Iterator[Problem]:
        path, value = member(self.path, "enabled"), self.raw.get("enabled")
        if isinstance(value, bool) or value is None:
            return
        if not is_expression(value):
            if str(value).lower() not in ("true", "false"):
                meant = "true" if is_true_word(value) else "false"
                yield self._problem(path, f"{value!r} is taken for {meant}, and not for jq", f"write {meant}")
            return
        tokens = list(tokenize(value))
        given = _plain_kind(tokens)
        if given:
            yield self._problem(path, f"gives {given} and never true: the mapping takes nothing", _compare(tokens))
        elif _assigns(tokens):
            yield self._problem(path, "`=` sets a member and never gives true", "compare with `==`")

    def _expression(self, expression: Expression) -> Iterator[Problem]:
        source, path = expression.source, expression.path
        if quoted := self._unquoted(source, path):
            yield quoted
            return
        wrong = _wrong_in_report if expression.is_report else _wrong_in_request
        for steps in dict.fromkeys(document_paths(list(tokenize(source)))):
            if (complaint := wrong(steps)) is not None:
                yield self._problem(path, f"`{shown_path(steps)}`: {complaint[0]}", complaint[1])
        if path.startswith(member(self.path, "query")) and source.strip() in ("true", "false"):
            message = f"is jq's {source.strip()}, which Port's own agent sends as {source.strip().title()}"
            yield self._problem(path, message, f'the text would be "\\"{source.strip()}\\""')

    def _unquoted(self, source: str, path: str) -> Problem | None:
        """A text that was meant as it stands, and is read as jq."""
        is_meant = (
            (path == member(self.path, "method") and _METHOD_WORD.fullmatch(source))
            or _PLAIN_URL.fullmatch(source)
            or (path.startswith(member(self.path, "headers")) and _PLAIN_HEADER.fullmatch(source))
        )
        if not is_meant:
            return None
        is_word = _METHOD_WORD.fullmatch(source) is not None  # of anything else no part is shown: it may be secret
        shown = source.strip() if is_word else "…"
        message = f"{UNQUOTED}, which gives no text here: a fixed text needs quotes of its own"
        if found := _WITH_VARIABLE.fullmatch(source):
            return self._problem(path, message, f'write "\\"{found[1]} \\" + env.{found[2]}"')
        return self._problem(path, message, f'write "\\"{shown}\\""')

    def _status(self, source: Json) -> Iterator[Problem]:
        tokens = list(tokenize(source)) if isinstance(source, str) else []
        if [token.kind for token in tokens] == ["string"] and tokens[0].text not in ('"SUCCESS"', '"FAILURE"'):
            path = member(member(self.path, "report"), "status")
            yield self._problem(
                path, f"Port knows no status {tokens[0].text}", 'write "\\"SUCCESS\\"" or "\\"FAILURE\\""'
            )

    def _paths_to_decrypt(self) -> Iterator[Problem]:
        paths = self.raw.get("fieldsToDecryptPaths")
        for index, value in enumerate(paths if isinstance(paths, list) else []):
            place = item(member(self.path, "fieldsToDecryptPaths"), index)
            if not isinstance(value, str):
                yield self._problem(place, "is no text", "write a dot path such as payload.properties.token")
            elif not _DOT_PATH.fullmatch(value):
                bare = re.sub(r"\[[\"']?([^\]\"']*)[\"']?\]", r".\1", value.strip().removeprefix("$")).strip(".")
                hint = f"write {bare}" if _DOT_PATH.fullmatch(bare) else "name each value; list indices are numbers"
                yield self._problem(place, f"{value!r} is no dot path: Port's own agent finds nothing there", hint)

    def _problem(self, path: str, message: str, hint: str = "") -> Problem:
        return self.document.problem(path, message, hint)


def _wrong_in_request(steps: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with a path into the message, and what to write; ``None`` where it may be right."""
    match steps:
        case ["payload", "action", name, *_] if name in _OF_THE_METHOD:
            return "a message has nothing there", f"write .payload.action.invocationMethod.{name}"
        case ["payload", "invocationMethod", *rest]:
            return (
                "a message has nothing there",
                f"write {shown_path(('payload', 'action', 'invocationMethod', *rest))}",
            )
        case ["body", *rest]:
            return "`.body` is the message in `report` alone; here the message is `.`", f"write {shown_path(rest)}"
        case ["response" | "request" as name, *_]:
            return f"`.{name}` is known in `report` alone, after the request", ""
        case _:
            return None


def _wrong_in_report(steps: Sequence[str]) -> tuple[str, str] | None:
    match steps:
        case ["body", *rest]:
            wrong = _wrong_in_request(rest) if rest and rest[0] == "payload" else None
            return None if wrong is None else (wrong[0], wrong[1].replace("write .", "write .body."))
        case ["request" | "response" as name, second, *_] if second not in _EXCHANGE[name]:
            hint = _RESPONSE_WORDS.get(second.lower(), "") if name == "response" else ""
            return f"`.{name}` has {', '.join(_EXCHANGE[name])}", f"write {hint}" if hint else ""
        case ["request" | "response", *_]:
            return None
        case _:
            return (
                "`report` sees .body (the message), .request and .response",
                f"write {shown_path(('body', *steps))}",
            )


def document_paths(tokens: Sequence[Token]) -> Iterator[tuple[str, ...]]:
    """The paths into the document, each as far as it goes by plain names."""
    for index in document_reads(tokens)[0]:
        fields = takewhile(lambda token: token.kind == "field", tokens[index:])
        if steps := tuple(token.text[1:] for token in fields):
            yield steps


def shown_path(steps: Sequence[str]) -> str:
    """``steps`` as jq writes the path."""
    return "".join(f".{step}" for step in steps) or "."


def _plain_kind(tokens: Sequence[Token]) -> str:
    """What the expression surely gives if that is no boolean; empty text where it may be one."""
    if len(tokens) == 1:
        known = {"string": "a text", "number": "a number"}
        return "null" if tokens[0].text == "null" else known.get(tokens[0].kind, "")
    if tokens and tokens[0].text.startswith('"') and not _COMPARISONS & {token.text for token in tokens}:
        return "a text"
    return ""


def _compare(tokens: Sequence[Token]) -> str:
    """How ``enabled`` may have been meant."""
    if len(tokens) != 1 or tokens[0].kind != "string":
        return 'write a condition, such as .action == "deploy"'
    if tokens[0].text.strip('"').lower() in TRUE_WORDS:
        return "write true"
    return f"write .action == {tokens[0].text}, if that is the action's name"


def _assigns(tokens: Sequence[Token]) -> bool:
    return any(token.text == "=" and token.kind == "op" and not token.enclosing for token in tokens)
