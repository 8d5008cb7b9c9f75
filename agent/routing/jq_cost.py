"""Tells which jq expressions surely end soon, so that they may run where nothing can interrupt them.

An evaluation holds the interpreter and cannot be stopped. Only expressions from a closed list of words run
inside the agent; everything else goes to a worker process that can be killed. Why the bound holds: without
variables, recursion, assignment, regular expressions and free iteration (`.[]`), a part of an expression is
evaluated at most once per combination of the commas and branches around it, and functions such as ``map`` hand
disjoint parts of their input on. So the work is at most the size of what can be seen (the message and the route's
environment) times the number of functions times the product of what each stretch between two pipes can multiply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.routing.jq_tokens import Token

_BUDGET = 2**18
"""Of size times weight: measured, this much work stays well under a tenth of a second."""
_LONGEST_SOURCE = 1000

_KEYWORDS = frozenset(["if", "then", "elif", "else", "end", "and", "or", "not", "null", "true", "false"])
_FUNCTIONS = frozenset(
    re.findall(
        r"\S+",
        """
        add all any ascii_downcase ascii_upcase ceil empty endswith env error first floor from_entries
        fromjson group_by has isempty join keys keys_unsorted last length ltrimstr map max min now nulls
        reverse round rtrimstr scalars select sort sort_by startswith strings to_entries todate tojson
        tonumber tostring type unique unique_by values with_entries
        """,
    )
)
_OPERATORS = frozenset(
    ["(", ")", "[", "]", "{", "}", '"', "\\(", ".", ",", "|", ":", "?", "//", "+", "==", "!=", "<", "<=", ">", ">="]
)
_BRANCHES = frozenset([",", "+", "//", "==", "!=", "<", "<=", ">", ">=", "and", "or", "if", "elif", "else"])
_ESCAPING = 5
"""The most by which one escape (``@json``, ``tojson``, …) lengthens a text again and again."""


def weight(tokens: Sequence[Token], source: str) -> int | None:
    """By how much the expression can multiply its input at worst; ``None`` where no bound is known."""
    if len(source) > _LONGEST_SOURCE or any(_is_unbounded(tokens, i) for i in range(len(tokens))):
        return None
    product = 1
    open_stretches: list[int] = [1]
    for token in tokens:
        if token.text in _BRANCHES:
            open_stretches[-1] += 1
        elif token.text == "\\(":
            open_stretches[-1] += 2  # copies its value, and doubles the backslashes in it
        elif token.kind == "format" or token.text in ("tojson", "tostring"):
            open_stretches[-1] += _ESCAPING
        elif token.text == "|":
            product *= open_stretches[-1]
            open_stretches[-1] = 1
        if token.text in ("(", "[", "{", "\\("):
            open_stretches.append(1)
        elif token.text in (")", "]", "}") and len(open_stretches) > 1:
            product *= open_stretches.pop()
    functions = sum(token.kind == "name" and token.text in _FUNCTIONS for token in tokens)
    return product * open_stretches[0] * (1 + functions)


def is_affordable(expression_weight: int, seen_chars: int) -> bool:
    """Whether an expression of that weight may be evaluated without a way to stop it.

    ``seen_chars`` is the length of all that it can see, the message and the environment, as JSON.
    """
    return expression_weight * (seen_chars + _LONGEST_SOURCE) <= _BUDGET


def _is_unbounded(tokens: Sequence[Token], index: int) -> bool:
    token = tokens[index]
    match token.kind:
        case "string" | "number" | "field" | "format":
            return False
        case "name":
            return token.text not in _FUNCTIONS | _KEYWORDS and not is_object_key(tokens, index)
        case "variable":
            return token.text != "$ENV"
        case _:
            return token.text not in _OPERATORS or _is_iteration(tokens, index)


def _is_iteration(tokens: Sequence[Token], index: int) -> bool:
    """Whether ``[`` begins a ``.[]``: an empty pair of brackets behind something that can be iterated."""
    if [t.text for t in tokens[index : index + 2]] != ["[", "]"] or index == 0:
        return False
    before = tokens[index - 1]
    return before.kind != "op" or before.text in (".", "]", ")", "}", "?")


def is_object_key(tokens: Sequence[Token], index: int) -> bool:
    """Whether a name stands for itself, as in ``{name: …}`` or ``{name}``, and calls nothing."""
    if tokens[index].enclosing != "{" or tokens[index - 1].text not in ("{", ","):
        return False
    return index + 1 < len(tokens) and tokens[index + 1].text in (":", ",", "}")
