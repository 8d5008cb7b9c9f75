"""What to write instead of an expression that looks like another language, or like a slip of the pen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from agent.routing.jq_names import AFTER_THE_WORK
from agent.routing.jq_tokens import Token, tokenize

_UNKNOWN = re.compile(r"(\$?[A-Za-z_][A-Za-z0-9_:]*)(?:/(\d+))? is not defined")
_CALLED_ELSEWHERE = {
    **dict.fromkeys(("upper", "uppercase", "upcase", "toupper", "to_upper", "toUpperCase"), "ascii_upcase"),
    **dict.fromkeys(("lower", "lowercase", "downcase", "tolower", "to_lower", "toLowerCase"), "ascii_downcase"),
    **dict.fromkeys(("strip", "trimSpace"), "trim"),
    **dict.fromkeys(("lstrip", "trim_left", "trimStart"), "ltrim"),
    **dict.fromkeys(("rstrip", "trim_right", "trimEnd", "chomp"), "rtrim"),
    **dict.fromkeys(("trimPrefix", "removeprefix"), 'ltrimstr("…")'),
    **dict.fromkeys(("trimSuffix", "removesuffix"), 'rtrimstr("…")'),
    **dict.fromkeys(("len", "size", "count"), "length"),
    **dict.fromkeys(("int", "float", "number"), "tonumber"),
    **dict.fromkeys(("str", "string", "toString"), "tostring"),
    **dict.fromkeys(("json", "to_json", "toJson"), "tojson"),
    **dict.fromkeys(("default", "coalesce"), '// "…", as in .inputs.name // "none"'),
    **dict.fromkeys(("replace", "regex_replace"), 'gsub("…"; "…")'),
    **dict.fromkeys(("quote", "shellquote"), "@sh"),
    **dict.fromkeys(("urlencode", "urlquery"), "@uri"),
    **dict.fromkeys(("b64enc", "base64", "base64encode"), "@base64"),
    **dict.fromkeys(("b64dec", "base64decode"), "@base64d"),
}
"""Functions of other template languages, and what jq has for them."""
_OF_THE_MESSAGE = ("payload", "context", "headers", "body", "resourceType")


@dataclass(frozen=True, slots=True)
class Hyphenated:
    """A member with hyphens in its name, which jq reads as a subtraction; ``path`` is how to write it."""

    words: tuple[str, ...]
    path: str


def hyphenated(tokens: Sequence[Token]) -> Iterator[Hyphenated]:
    """What reads like ``.inputs.first-name``, without blanks."""
    for index, token in enumerate(tokens):
        if token.kind != "field":
            continue
        words, end = [token.text[1:]], index + 1
        while _goes_on_with_hyphen(tokens, end):
            words.append(tokens[end + 1].text)
            end += 2
        if len(words) > 1:
            before = _fields(reversed(tokens[:index]))[::-1]
            path = f'{"".join(before) or ".inputs"}["{"-".join(words)}"]{"".join(_fields(iter(tokens[end:])))}'
            yield Hyphenated(tuple(words), path)


def dotted(tokens: Sequence[Token], index: int) -> str:
    """How to write the path that the name at ``index`` begins without its dot; nothing where none is near."""
    close = get_close_matches(tokens[index].text, AFTER_THE_WORK, n=1, cutoff=0.75)
    following = "".join(_fields(iter(tokens[index + 1 :])))
    if not close or not (following or close[0] == tokens[index].text):
        return ""
    return f"write .{close[0]}{following}"


def unseen_hint(name: str, seen: Sequence[str], tokens: Sequence[Token]) -> str:
    """What may have been meant by ``.name``, which is none of the names that are ``seen``."""
    if name in AFTER_THE_WORK:
        return "it is there after the work, so in `report` and `entities` only"
    if close := get_close_matches(name, seen, n=1, cutoff=0.75):
        return f"did you mean `.{close[0]}`?"
    if meant := next((found.path for found in hyphenated(tokens) if found.words[0] == name), None):
        return f"did you mean `{meant}`?"
    return f"did you mean `.{'message' if name in _OF_THE_MESSAGE else 'inputs'}.{name}`?"


def subtraction_hint(message: str, source: str) -> str:
    """What may have been meant by an expression that failed with ``message`` on a subtraction, or nothing."""
    if "cannot be subtracted" not in message:
        return ""
    return next((f" (did you mean {found.path}?)" for found in hyphenated(list(tokenize(source)))), "")


def compile_hint(message: str, source: str, known: Sequence[str]) -> str:
    """What to try instead. ``known`` names jq's functions as ``name/arity``."""
    unknown = _UNKNOWN.search(message)
    if unknown is not None and unknown[2] is not None:
        return _function_hint(unknown[1], list(tokenize(source)), [name.partition("/")[0] for name in known])
    if "{{" in source:
        return "one bare jq expression is expected here, without {{ }} around its parts"
    if "'" in source:
        return "text inside an expression needs double quotes"
    return ""


def compile_hint_alone(message: str, source: str) -> str:
    """The same with no word of ``source``."""
    if _UNKNOWN.search(message):
        return "text needs double quotes"
    return compile_hint("", source, ())


def _function_hint(name: str, tokens: Sequence[Token], known: Sequence[str]) -> str:
    if name in known:
        return f"{name} takes another number of arguments"
    if meant := next((found.path for found in hyphenated(tokens) if name in found.words[1:]), None):
        return f"write {meant}: without the quotes the hyphen is a minus"
    for index, token in enumerate(tokens):
        if token.kind == "name" and token.text == name and (path := dotted(tokens, index)):
            return path
    if name in _CALLED_ELSEWHERE:
        return f"jq has {_CALLED_ELSEWHERE[name]}"
    close = get_close_matches(name, known, n=1, cutoff=0.8)
    return f"did you mean {close[0]}?" if close else "text needs double quotes"


def _goes_on_with_hyphen(tokens: Sequence[Token], index: int) -> bool:
    if index + 1 >= len(tokens) or tokens[index].text != "-":
        return False
    before, hyphen, word = tokens[index - 1 : index + 2]
    touching = before.start + len(before.text) == hyphen.start and hyphen.start + 1 == word.start
    return touching and word.kind in ("name", "number")


def _fields(tokens: Iterator[Token]) -> list[str]:
    """The texts of the fields that come first."""
    texts: list[str] = []
    for token in tokens:
        if token.kind != "field":
            break
        texts.append(token.text)
    return texts
