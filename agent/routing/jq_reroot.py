"""Rewrites jq expressions so that they find in another document what they read of their own.

``.payload.entity`` of a mapping file is ``.message.payload.entity`` of a route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.routing.jq_cost import is_object_key
from agent.routing.jq_tokens import Token, tokenize

Reroot = Callable[[str], str | None]
"""What to write for the outermost member of that name (empty: the document itself); ``None``: nothing is it."""

_GIVES_UP = frozenset(["def", "reduce", "foreach", "label", "import", "include", "catch"])
_GIVES_UP_OPS = frozenset(["..", "?//", "?//=", "=", "|=", "+=", "-=", "*=", "/=", "%=", "//=", ";"])
_CONSTANT_WORDS = frozenset(
    ["if", "then", "elif", "else", "end", "and", "or", "as", "null", "true", "false", "env", "try"]
)
"""Words that may stand where the document is seen, and do not look at it themselves."""
_ENDS_A_TERM = frozenset([")", "]", "}", "?", "."])
_KEYWORDS = frozenset(["if", "then", "elif", "else", "and", "or", "as", "try"])


class _Frame:
    """A bracket, or an ``if``: whether the document is ``.`` at its beginning, and whether it is now."""

    def __init__(self, *, sees: bool) -> None:
        self.at_first = sees
        self.sees = sees
        self.bindings = 0

    def pipe(self) -> None:
        """A ``|``: that of ``… as $x |`` leaves the input as it is."""
        if self.bindings:
            self.bindings -= 1
        else:
            self.sees = False

    def begin_anew(self) -> None:
        """The next part of an object or an ``if``: it sees what the first one saw."""
        self.sees = self.at_first
        self.bindings = 0


def rerooted(source: str, reroot: Reroot) -> str | None:
    """``source`` with every read of its document written anew; ``None`` where it cannot be told for sure which are.

    The expression must be one that jq compiles.
    """
    tokens = list(tokenize(source))
    reads, are_all = document_reads(tokens)
    if not are_all:
        return None
    pieces: list[str] = []
    done = 0
    for token in (tokens[index] for index in reads):
        name = token.text[1:]
        written = reroot(name)
        if written is None:
            return None
        is_quoted = not name and source.startswith('"', token.start + 1)  # ."name"
        pieces += (source[done : token.start], f"{written}." if is_quoted else written)
        done = token.start + len(token.text)
    return "".join([*pieces, source[done:]])


def document_reads(tokens: Sequence[Token]) -> tuple[list[int], bool]:
    """Where terms begin that read the outermost document (``.name`` or ``.``), and whether these are all.

    What comes behind a word that may look at the document in other ways is not told any more.
    """
    frames = [_Frame(sees=True)]
    reads: list[int] = []
    for index, token in enumerate(tokens):
        if frames[-1].sees:
            if _is_beyond_us(tokens, index):
                return reads, False
            if (token.text == "." or token.kind == "field") and not (index and _ends_a_term(tokens[index - 1])):
                reads.append(index)
        _follow(frames, token)
    return reads, True


def _follow(frames: list[_Frame], token: Token) -> None:
    """Keeps track of what ``.`` is behind ``token``."""
    frame = frames[-1]
    if token.kind == "name":
        match token.text:
            case "if":
                frames.append(_Frame(sees=frame.sees))
            case "then" | "elif" | "else":
                frame.begin_anew()
            case "end" if len(frames) > 1:
                frames.pop()
            case "as":
                frame.bindings += 1
            case _:
                pass
    elif token.text in ("(", "[", "{", "\\("):
        frames.append(_Frame(sees=frame.sees))
    elif token.text in (")", "]", "}") and len(frames) > 1:
        frames.pop()
    elif token.text == "," and token.enclosing == "{":
        frame.begin_anew()
    elif token.text == "|" and token.kind == "op":
        frame.pipe()


def _is_beyond_us(tokens: Sequence[Token], index: int) -> bool:
    """Whether the token, standing where the document is ``.``, may read it in a way that is not looked at here."""
    token = tokens[index]
    follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
    is_key = token.enclosing == "{" and index > 0 and tokens[index - 1].text in ("{", ",")
    match token.kind:
        case "name":
            if is_key and is_object_key(tokens, index):
                return follows != ":"
            return token.text in _GIVES_UP or token.text not in _CONSTANT_WORDS
        case "format":
            return not follows.startswith('"')
        case "string":
            return is_key and follows in (",", "}")
        case "op":
            return token.text in _GIVES_UP_OPS or (token.text == '"' and is_key)
        case _:
            return False


def _ends_a_term(before: Token) -> bool:
    if before.kind == "name":
        return before.text not in _KEYWORDS
    return before.kind != "op" or before.text in _ENDS_A_TERM
