"""Which top-level names an expression reads of the document it sees, as far as that can be told for sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.routing.jq_tokens import Token

BEFORE_THE_WORK = ("run", "action", "inputs", "entity", "trigger", "message")
"""The names of `agent.domain.invocation.Invocation.view`."""

AFTER_THE_WORK = (*BEFORE_THE_WORK, "response", "request", "outputs")
"""What ``report`` and ``entities`` see."""

_INPUT_CHANGES = frozenset(["as", "catch", "def", "foreach", "import", "include", "label", "reduce", "try", "has"])
_INPUT_CHANGES_BY = frozenset(["..", "?", "?//", "?//=", "=", "|=", "+=", "-=", "*=", "/=", "%=", "//="])
_BEFORE_A_TERM = frozenset(
    ["(", "[", "{", ",", ":", "|", "+", "-", "*", "/", "%", "//", "==", "!=", "<", "<=", ">", ">=", "\\("]
)
_WORDS_BEFORE_A_TERM = frozenset(["if", "then", "elif", "else", "and", "or"])


def top_names(tokens: Sequence[Token]) -> Iterator[str]:
    """The names that ``.name`` surely reads of the outermost document; a name that is only likely is left out.

    Not looked at is all that may see something else, or may reckon with a missing member: what follows a pipe, a
    function's arguments, an index, an expression with bindings, definitions, assignments, ``..``, ``?`` or ``has``.
    """
    if any(_may_change_the_input(token) for token in tokens):
        return
    sees_document = [True]
    for index, token in enumerate(tokens):
        if token.kind == "field" and sees_document[-1] and _begins_a_term(tokens, index):
            yield token.text[1:]
        elif token.text in ("(", "[", "{", "\\("):
            sees_document.append(sees_document[-1] and (token.text == "\\(" or _begins_a_term(tokens, index)))
        elif token.text in (")", "]", "}") and len(sees_document) > 1:
            sees_document.pop()
        elif token.text == "|":
            sees_document[-1] = False


def _may_change_the_input(token: Token) -> bool:
    return token.text in (_INPUT_CHANGES if token.kind == "name" else _INPUT_CHANGES_BY)


def _begins_a_term(tokens: Sequence[Token], index: int) -> bool:
    """Whether the token stands where a value begins, and is no suffix of one and no function's bracket."""
    if index == 0:
        return True
    before = tokens[index - 1]
    return before.text in (_WORDS_BEFORE_A_TERM if before.kind == "name" else _BEFORE_A_TERM)
