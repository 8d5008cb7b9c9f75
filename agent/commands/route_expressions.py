"""Writes expressions of a mapping file as those of routes: what they read of the message is read of .message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from agent.routing.jq_cost import is_object_key
from agent.routing.jq_paths import parse_path
from agent.routing.jq_reroot import Reroot, rerooted
from agent.routing.jq_tokens import Token, tokenize

_SURROGATES = re.compile("[\ud800-\udfff]")
_CANNOT_FAIL = frozenset(["+", "//", "(", ")", "env", "$ENV"])
_OBJECTS = frozenset(
    re.findall(
        r"\S+",
        """
        context trigger trigger.by trigger.by.user changelogDestination headers payload payload.action
        payload.action.invocationMethod payload.properties payload.entity payload.entity.properties
        payload.entity.relations
        """,
    )
) | {""}
"""What is an object, or null, in every message of Port."""
_TEXTS = frozenset(
    re.findall(
        r"\S+",
        """
        action resourceType context.runId context.entity context.blueprint trigger.at trigger.by.userId
        trigger.by.orgId trigger.by.user.email payload.entity.identifier payload.entity.title
        payload.entity.blueprint payload.action.identifier payload.action.invocationMethod.type
        """,
    )
)
"""What is a text, or null, in every message of Port."""
_INSTEAD = {
    "debug": ".",
    "stderr": ".",
    "inputs": "empty",
    "input_filename": "null",
    "input_line_number": "0",
    "input": 'error("there is no further input")',
    "leaf_paths": "paths(scalars)",
    "recurse_down": "recurse",
}
"""What mapping files make of jq's words for other input and output and for what is gone, in words of routes."""


def of_the_message(name: str) -> str:
    """What the message's member of that name is in a route."""
    return f".message.{name}" if name else ".message"


def of_the_exchange(name: str) -> str | None:
    """What a member of the document that report expressions see is in a route; ``None`` for any other."""
    return {"body": ".message", "request": ".request", "response": ".response"}.get(name)


def rewritten(source: str, reroot: Reroot, whole: str) -> str:
    """``source`` for the document of routes: its reads written anew, or all of it behind a pipe."""
    anew = rerooted(source, reroot)
    if anew is None:
        return f"{whole} | ({source})"
    return f"({anew})" if source.endswith("\n") else anew.strip()  # brackets keep a comment's braces to itself


def literal(source: str) -> str | None:
    """The text, if the expression is a constant one that needs no braces and is not empty."""
    tokens = list(tokenize(source))
    if [token.kind for token in tokens] != ["string"]:
        return None
    try:
        text = json.loads(tokens[0].text)
    except ValueError:
        return None
    return text if text and "{{" not in text and not _SURROGATES.search(text) else None


def is_sure(source: str) -> bool:
    """Whether the expression does not fail: a path through Port's own objects, or texts and variables, added up."""
    steps = parse_path(source)
    if steps is not None:
        return ".".join(map(str, steps[:-1])) in _OBJECTS
    tokens = list(tokenize(source))
    if len(tokens) == 1:
        return tokens[0].kind in ("string", "number") or tokens[0].text in ("null", "true", "false")
    return all(
        token.kind == "string"
        or token.text in _CANNOT_FAIL
        or (token.kind == "field" and tokens[index - 1].text in ("env", "$ENV"))
        for index, token in enumerate(tokens)
    )


def is_text(source: str) -> bool:
    """Whether what the expression gives, if it gives anything, is a text or null."""
    steps = parse_path(source)
    if steps is not None:
        return ".".join(map(str, steps)) in _TEXTS
    tokens = list(tokenize(source))
    if [token.text for token in tokens[-2:]] in (["|", "tostring"], ["|", "tojson"]):
        return not tokens[-2].enclosing
    text = tokens[1:] if tokens and tokens[0].kind == "format" else tokens
    if text and text[0].text == '"' and all(token.enclosing or token.text == "\\(" for token in text[1:]):
        return True  # with interpolations
    if not is_sure(source) or is_number(source):
        return False
    return all(
        tokens[index + 1 : index + 2] and tokens[index + 1].kind == "field"
        for index, token in enumerate(tokens)
        if token.kind in ("name", "variable") and token.text != "null"
    )


def is_number(source: str) -> bool:
    """Whether the expression is a number as it stands."""
    return [token.kind for token in tokenize(source)] == ["number"]


def is_object(source: str) -> bool:
    """Whether the expression makes an object, and does nothing with it."""
    tokens = list(tokenize(source))
    return bool(tokens) and tokens[0].text == "{" and _is_one(tokens)


def _is_one(tokens: Sequence[Token]) -> bool:
    """Whether the bracket that begins them is closed by the last one, and not before."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.text in ("{", "[", "(", "\\(")) - (token.text in ("}", "]", ")"))
        if depth == 0:
            return index == len(tokens) - 1
    return False


def without_other_input(source: str, tokens: Sequence[Token]) -> str:
    """``debug``, ``input`` and the like are told apart by their names; routes refuse the names."""
    pieces: list[str] = []
    done = 0
    for start, end, instead in _other_input(source, tokens):
        pieces += (source[done:start], instead)
        done = end
    return "".join([*pieces, source[done:]])


def _other_input(source: str, tokens: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
    until = 0
    for index, token in enumerate(tokens):
        if (
            token.kind != "name"
            or token.text not in _INSTEAD
            or is_object_key(tokens, index)
            or token.start < until
        ):
            continue
        until = token.start + len(token.text)
        if index + 1 < len(tokens) and tokens[index + 1].text == "(":
            until = _closing(source, tokens, index + 1)
        yield token.start, until, _INSTEAD[token.text]


def _closing(source: str, tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for token in tokens[opening:]:
        depth += (token.text in ("(", "\\(")) - (token.text == ")")
        if depth == 0:
            return token.start + 1
    return len(source)
