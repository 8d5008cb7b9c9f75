"""What the jq of Port's own agent, 1.5, makes of an expression otherwise than the one here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.routing.jq_cost import is_object_key
from agent.routing.jq_tokens import Token, tokenize

_INDICES = "positions in a text are counted in characters; jq 1.5 counted bytes, and matches did not overlap"
_ANCHORS = (
    "`^` matches at the beginning of the text alone; jq 1.5 let it match anew behind each replacement, and never "
    "ended where a match was empty"
)

DIFFERENCES = {
    "@uri": "escapes ! * ' ( ) too; jq 1.5 left these as they are",
    "indices": _INDICES,
    "index": _INDICES,
    "rindex": _INDICES,
    "tonumber": "refuses a text with blanks around its number; jq 1.5 took it",
    "ltrimstr": "fails for what is no text; jq 1.5 gave it back as it was",
    "rtrimstr": "fails for what is no text; jq 1.5 gave it back as it was",
    "join": "takes numbers and booleans; jq 1.5 failed for them",
    "limit": "fails for a negative count; jq 1.5 then gave everything",
    "last": "last(…) of nothing gives nothing; jq 1.5 gave null",
    "nth": "nth(…; …) beyond the end gives nothing; jq 1.5 gave the last one",
    "gsub": _ANCHORS,
    "mktime": "takes a shorter list for a time; jq 1.5 wanted six numbers",
    "..": "gives members that are null too; jq 1.5 left them out",
    "recurse": "gives values that are null too; jq 1.5 left them out",
    "map_values": "leaves out what gives nothing; jq 1.5 gave null for the whole",
    "|=": "leaves out what gives nothing; jq 1.5 gave null for the whole",
    "try": "catches errors of its own expression alone; in jq 1.5 those behind it as well",
}
"""By a word of jq, what differs where it is used."""


def differences(source: str) -> Iterator[str]:
    """The words of `DIFFERENCES` that ``source`` uses, each once, in the order in which they come."""
    tokens = list(tokenize(source))
    yield from dict.fromkeys(
        token.text for index, token in enumerate(tokens) if token.text in DIFFERENCES and _is_used(tokens, index)
    )


def _is_used(tokens: Sequence[Token], index: int) -> bool:
    token = tokens[index]
    if token.kind == "name":
        if token.text in ("last", "nth") and not _is_given_a_stream(tokens, index):
            return False
        return not is_object_key(tokens, index)
    return token.kind in ("format", "op")


def _is_given_a_stream(tokens: Sequence[Token], index: int) -> bool:
    """Whether it is `last(f)` or `nth(n; f)`; without one they are `.[-1]` and `.[n]`, now as then."""
    if index + 1 == len(tokens) or tokens[index + 1].text != "(":
        return False
    if tokens[index].text == "last":
        return True
    depth = 0
    for token in tokens[index + 1 :]:
        depth += (token.text in ("(", "\\(")) - (token.text == ")")
        if depth == 0:
            return False
        if depth == 1 and token.text == ";":
            return True
    return False
