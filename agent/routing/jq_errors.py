"""What jq says, told so that a person can act on it, and without the values of the message.

jq quotes values in its errors (``string ("…") cannot be parsed``); a message may hold secrets, so an error's
text is only repeated where it can be seen to hold none.
"""

from __future__ import annotations

import re

from agent.routing.jq_tokens import tokenize

WITHHELD = "the expression failed; jq's words are withheld, for they may hold values of the message"
_SHOWN_CHARS = 120
_LONGEST_OF_JQ = 1000
"""What is longer was handed to ``error``, or names a huge key; to search it could take minutes."""

_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
        a access added an and are arguments array array/string arrays as at attempt base64 be because big
        boolean both bounds break can can't cannot check checked codepoint column consist containment csv
        csv-formatted data date datetime deep delete depth determine divided divisor does element encoding
        end endswith eof escape escaped explode exploded expression failure false field fields flatten for
        format from gmtime grouped has have implode imploded in index indices input inputs integers invalid
        is it iterate iterated key keys large length line literal localtime match matched merge mktime
        modifier multiplied must nan near needs negated negative no not null number numbers numeric object
        objects of only out over pairs parsed path paths range regex required requires result reversed row
        searched separator set shell slice slices sorted specified split start startswith strflocaltime/1
        strftime/1 string strings strptime/1 subtracted the their they through to too transposed trim true
        tsv-formatted unicode update uri use utf-8 valid value whether with zero
        """,
    )
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SHORT_PARENTHESES, _LONG_PARENTHESES = re.compile(r" ?\([^()]+\)"), re.compile(r" ?\(.+\)", re.DOTALL)
_VALUE = re.compile(
    r"(?<=with result).*|(?<=access element).*|(?<=iterate through).*|(?<=Regex failure):.*"
    r"|(?<=^date )\".*\" (?=does not match format)|(?<=does not match format) .*"
    r"|( at EOF)? at line \d+, column \d+ \(while parsing .*",
    re.DOTALL,
)
_PLACE = re.compile(r" at <top-level>, line (\d+), column (\d+):.*", re.DOTALL)
_COLUMN = re.compile(r" \((?:line \d+, )?column \d+\)\Z")
_PLAIN_WORDS = {
    "IDENT": "a name",
    "FIELD": "a field",
    "LITERAL": "a number",
    "FORMAT": "a format",
    "BINDING": "a variable",
    "INVALID_CHARACTER": "character",
    "QQSTRING_START": "a text",
    "QQSTRING_TEXT": "more text",
    "QQSTRING_INTERP_START": "an interpolation",
    "QQSTRING_END": "the closing quote",
}
_JARGON = re.compile("|".join(_PLAIN_WORDS))


def shown(source: str) -> str:
    """The expression on one line, cut to a readable length."""
    line = " ".join(source.split())
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"


def without_values(message: str, source: str) -> str:
    """What jq says about a failed evaluation of ``source``, as far as it surely holds nothing of the message.

    Words of the expression itself may be repeated: ``error("name is missing")`` is told as it is.
    """
    if message in {token.text[1:-1] for token in tokenize(source) if token.kind == "string"}:
        return message
    if message.startswith("parse error: Exceeds depth limit"):
        return "the message is nested too deeply for jq"
    if len(message) > _LONGEST_OF_JQ:
        return WITHHELD
    own = set(re.findall(r"\w+", source))
    for parentheses in (_SHORT_PARENTHESES, _LONG_PARENTHESES):
        bare = _QUOTED.sub("", parentheses.sub("", _VALUE.sub("", message)))
        words = re.findall(r"[^\s,:;]+", bare)
        if words and all(word.removesuffix("()").lower() in _WORDS or word in own for word in words):
            return " ".join(bare.split()).replace(" ,", ",")
    return WITHHELD


def compile_error_alone(message: str, first_line: int) -> str:
    """The same with no word of the expression, which may be a secret that lacks its quotes.

    Syntax errors name kinds of words and never the words themselves.
    """
    said = compile_error(message, first_line)
    place = _COLUMN.search(said)
    if place is None:
        return "jq refuses it"
    if said.startswith("syntax error"):
        return said
    is_unknown = said[: place.start()].endswith(" is not defined")
    return f"jq knows no such name{place[0]}" if is_unknown else f"jq refuses it{place[0]}"


def compile_error(message: str, first_line: int) -> str:
    """What jq says about an expression that does not compile, with the place inside it.

    ``first_line`` is the number of the line on which the expression begins in what jq was given.
    """
    text = message.removeprefix("jq: error: ").strip()
    place = _PLACE.search(text)
    if place is None:
        return text.splitlines()[0] if text else "it does not compile"
    said = _JARGON.sub(lambda found: _PLAIN_WORDS[found[0]], text[: place.start()])
    line, column = int(place[1]) - first_line + 1, place[2]
    where = f"line {line}, column {column}" if line > 1 else f"column {column}"
    return f"{said} ({where})"
