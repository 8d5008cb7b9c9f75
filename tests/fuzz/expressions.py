"""Any text as a jq expression: it is refused or evaluated, in its time, and shows nothing that it may not see.

jq itself is the oracle for plain paths. What may run inside of the agent is timed, for nothing could stop it there;
what only the worker process may run is left out.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import jq  # type: ignore[import-not-found]  # ships no types

from agent.domain.errors import ConfigurationError, TemplateError, UnevaluatedError
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject
from agent.domain.route import Template
from agent.routing.expressions import Expressions, PathExpression
from agent.routing.jq_cost import is_affordable, weight
from agent.routing.jq_errors import without_values
from agent.routing.jq_hints import hyphenated
from agent.routing.jq_names import top_names
from agent.routing.jq_paths import parse_path
from agent.routing.jq_tokens import Token, tokenize
from agent.routing.templates import sole_expression
from tests.fuzz.jq_inputs import SEEDS, mutate
from tests.fuzz.target import Target, within

_Outcome: TypeAlias = tuple[str, Json]
"""``value`` and what was given, or ``error`` and what was said."""

_AT_ONCE_S = 0.25
"""What may run inside of the agent "stays well under a tenth of a second"; the machine may be a slow one."""
_PURE_S = 0.02

_SECRET = "Zq7kVx2MwT"
"""Stands in every message; no error may repeat a piece of it."""
_HIDDEN = "JhQ4pYbN8s"
"""In the agent's environment, under a name that the route does not list."""
_OUTSIDE = json.dumps(os.environ["PATH"])[1:-1]
"""In the environment of the process, which jq would show by itself."""
_PIN = 90125.75
_SECRETS = (_SECRET, _HIDDEN, str(_PIN))
_PIECE_CHARS = 5
_CUT_CHARS = 100
"""Longer expressions are not repeated whole in an error."""
_SURROGATES = re.compile("[\ud800-\udfff]")

_MOST_CHARS = 2**18
_OTHER_CHARS = 400
"""What else stands in a message, and in the environment."""
_SHOWN = {"REGION": "eu-1"}
_ENGINE = Expressions({**_SHOWN, "HIDDEN": _HIDDEN})
_ROUTES = replace(_ENGINE.for_route(("REGION",)), compile_program=_ENGINE._compile_anew)
"""Without the cache, which would make the second of two compilations a quick one."""


def check(source: bytes) -> None:
    """Up to the first NUL ``source`` is an expression; behind it is what the message holds.

    After a star as much of it as an expression of that weight may see inside of the agent.
    """
    head, _, tail = source.partition(b"\0")
    text = head.decode(errors="replace")
    message = _message(tail.removeprefix(b"*"), _copies(tail, text) if tail.startswith(b"*") else 0)
    _check_words(text, message)
    view = View(message)
    if _is_gentle(text, view):
        _check_evaluation(text, view)


def _is_gentle(text: str, view: View) -> bool:
    """Whether the agent evaluates it by itself."""
    its_weight = within(_PURE_S, lambda: weight(list(tokenize(text)), text))
    seen_chars = len(view.text) + len(json.dumps(_SHOWN))
    return parse_path(text) is not None or (its_weight is not None and is_affordable(its_weight, seen_chars))


def _check_words(text: str, message: JsonObject) -> None:
    """What is made of the text without jq takes little time, and never raises."""
    tokens = within(_PURE_S, lambda: list(tokenize(text)))
    end = 0
    for token in tokens:
        assert token.text
        assert token.start >= end
        assert text.startswith(token.text, token.start)
        end = token.start + len(token.text)
    within(_PURE_S, lambda: _hints(tokens))
    said = json.dumps(message, ensure_ascii=False)
    assert not _tells(within(_PURE_S, lambda: without_values(said, text)), text)


def _hints(tokens: Sequence[Token]) -> None:
    assert all(name.isidentifier() for name in top_names(tokens))
    assert all(len(found.words) > 1 for found in hyphenated(tokens))


def _check_evaluation(text: str, view: View) -> None:
    template = within(_AT_ONCE_S, lambda: _compiled(text))
    if template is None:
        return
    first, again = _outcome(template, text, view), _outcome(template, text, view)
    if "now" in text:
        return
    assert _same(first, again), (first, again)
    if isinstance(template, PathExpression):
        _check_path(text, first, view)
    _check_comments(text, first, view)
    if sole_expression(f"{{{{{text}}}}}") == text and sole_expression(text) is None:
        alone = _outcome(_ROUTES.template(f" {{{{{text}}}}}\n", "p"), text, view)
        assert _same(first, alone)
        inside = _outcome(_ROUTES.template(f"-{{{{{text}}}}}", "p"), text, view)
        assert inside[0] == first[0]
        assert inside[0] == "error" or isinstance(inside[1], str)


def _check_comments(text: str, given: _Outcome, view: View) -> None:
    """What was taken for comments and blanks is nothing to jq either."""
    tokens = list(tokenize(text))
    if "#" not in text or any(token.text == '"' for token in tokens):  # texts around interpolations are no tokens
        return
    bare = "\n".join(token.text for token in tokens)
    template = _compiled(bare)
    assert template is not None
    without = _outcome(template, bare, view)
    assert without[0] == given[0]
    assert without[0] == "error" or _same(without, given)


def _check_path(text: str, given: _Outcome, view: View) -> None:
    """A path that is walked without jq gives what jq gives, in its words."""
    try:
        wanted = "value", jq.compile(text).input_text(json.dumps(_readable(json.loads(view.text)))).first()
    except ValueError as error:
        wanted = "error", f"p: `{' '.join(text.split())}`: {without_values(str(error), text)}"
    assert given[0] == wanted[0], (given, wanted)
    assert len(text) > _CUT_CHARS or _agree(given[1], wanted[1]), (given, wanted)


def _compiled(text: str) -> Template | None:
    """``None`` for what is refused, with words in which nothing hidden stands."""
    try:
        return _ROUTES.expression(text, "p")
    except ConfigurationError as error:
        said = str(error)
    assert _HIDDEN not in said
    return None


def _outcome(template: Template, source: str, view: View) -> _Outcome:
    """What rendering comes to, in its time; each try sees a message of its own, with all of its time left."""
    value = within(_AT_ONCE_S, lambda: _rendered(template, view))
    if isinstance(value, TemplateError):
        assert not _tells(str(value), source), str(value)
        assert not isinstance(value, UnevaluatedError) or not _is_gentle(source, view)
        return "error", str(value)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert _HIDDEN not in text
    assert _OUTSIDE not in text
    return "value", value


def _rendered(template: Template, view: View) -> Json | TemplateError:
    try:
        return template.render(View(view.value))
    except TemplateError as error:
        return error


def _tells(said: str, source: str) -> bool:
    """Whether what is said repeats a piece of what is secret, and that is not in the source anyway."""
    pieces = (whole[at : at + _PIECE_CHARS] for whole in _SECRETS for at in range(len(whole) - _PIECE_CHARS + 1))
    return any(piece in said and piece not in source for piece in pieces)


def _same(one: _Outcome, other: _Outcome) -> bool:
    return one[0] == other[0] and json.dumps(one[1], sort_keys=True) == json.dumps(other[1], sort_keys=True)


def _agree(walked: Json, wanted: Json) -> bool:
    """Whether both are the same but for numbers, which jq keeps, and rounds, as floats; walked ones stay exact."""
    match walked, wanted:
        case bool(), _:
            return walked is wanted
        case int() | float(), int() | float():
            return math.isclose(_as_float(walked), _as_float(wanted), rel_tol=1e-14)
        case list(), list():
            return len(walked) == len(wanted) and all(map(_agree, walked, wanted))
        case Mapping(), Mapping():
            return walked.keys() == wanted.keys() and all(_agree(walked[name], wanted[name]) for name in walked)
        case _:
            return walked == wanted


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def _readable(value: Json) -> Json:
    """``value`` without lone surrogates, which jq cannot read."""
    match value:
        case str():
            return _SURROGATES.sub("\ufffd", value)
        case Mapping():
            return {str(_readable(name)): _readable(member) for name, member in value.items()}
        case list():
            return [_readable(item) for item in value]
        case _:
            return value


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────────


def _copies(raw: bytes, text: str) -> int:
    """How many copies of what ``raw`` holds still are affordable."""
    its_weight = weight(list(tokenize(text)), text)
    low, high = 0, _MOST_CHARS // (2 * len(raw))
    while its_weight is not None and low < high:
        middle = (low + high + 1) // 2
        if is_affordable(its_weight, middle * len(raw) + _OTHER_CHARS):
            low = middle
        else:
            high = middle - 1
    return low


def _message(raw: bytes, copies: int) -> JsonObject:
    """A message with secrets in it, and under ``message`` what the search made, also as a list of ``copies``."""
    text = raw.decode(errors="replace")
    found: Json
    try:
        found = json.loads(text, parse_constant=_refuse) if raw else None
    except (ValueError, RecursionError):
        found = text
    inputs: dict[str, Json] = {
        "secret": _SECRET,
        "pin": _PIN,
        "text": f"{_SECRET} ({_SECRET}",
        "list": [_SECRET, 1, {_SECRET: None}],
    }
    many = found * copies if isinstance(found, str) else [found] * copies
    return {"inputs": inputs, "run": {"id": "r_1"}, "message": many if copies else found}


def _refuse(name: str) -> float:
    raise ValueError(name)


TARGET = Target(check, SEEDS, mutate, max_bytes=2048)
