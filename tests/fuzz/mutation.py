"""Neighbours of an input: of bytes, and of JSON, which chance alone hardly ever leaves valid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, TypeAlias

_Spot: TypeAlias = tuple[Any, Any]
"""A list or an object, and where in it."""

ODD_VALUES: Sequence[Any] = (
    None,
    True,
    False,
    "",
    "true",
    " TRUE ",
    "\0",
    "\ud800",
    "é\u2028😀",
    0,
    -0.0,
    -1,
    1.0,
    1e-7,
    1e21,
    1.5e300,
    5e-324,
    0.1,
    2**53 + 1,
    -(2**63),
    10**400,
    [],
    {},
    [[]],
    [None],
    {"": ""},
)


def mutated_bytes(raw: bytes, chance: Random, words: Sequence[bytes] = ()) -> bytes:
    """``raw`` with one to four small accidents."""
    out = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(out))
        match chance.randrange(6):
            case 0:
                del out[at : at + chance.randint(1, 8)]
            case 1:
                out[at:at] = chance.randbytes(chance.randint(1, 4))
            case 2 if out:
                out[min(at, len(out) - 1)] ^= 1 << chance.randrange(8)
            case 3:
                begin = chance.randint(0, len(out))
                out[at:at] = out[begin : begin + chance.randint(1, 64)]
            case 4 if words:
                out[at:at] = chance.choice(words)
            case _:
                out[at:] = out[at:] + out[:at] if chance.random() < 0.1 else out[at:]
    return bytes(out)


def mutated_json(document: Any, chance: Random, names: Sequence[str]) -> Any:
    """``document`` with one to three changes of its tree; ``names`` are members that mean something. In place."""
    holder = [document]
    for _ in range(chance.randint(1, 3)):
        spots = list(_spots(holder))
        _change(*chance.choice(spots), spots, chance, names)
    return holder[0]


def printed_json(document: Any, chance: Random) -> bytes:
    """``document`` in one of the many ways in which it can be written down."""
    separators = chance.choice([(",", ":"), (", ", ": "), (",\n", " :\t")])
    text = json.dumps(document, ensure_ascii=chance.random() < 0.3, separators=separators)
    if chance.random() < 0.1 and text.startswith("{") and document:  # a member twice: of equal ones the last counts
        name = chance.choice(list(document))
        text = f"{{{json.dumps(name)}:{json.dumps(chance.choice(ODD_VALUES))}," + text[1:]
    if chance.random() < 0.1:
        text = f" \r\n{text}\t"
    return text.encode("utf-8", "surrogatepass")


def json_mutator(names: Sequence[str]) -> Callable[[bytes, Random], bytes]:
    """A `Target.mutate` for JSON; of what is none it makes a neighbour byte by byte."""
    words = [json.dumps(name).encode() for name in names]

    def mutate(raw: bytes, chance: Random) -> bytes:
        try:
            document = json.loads(raw)
            return printed_json(mutated_json(document, chance, names), chance)
        except (ValueError, RecursionError):
            return mutated_bytes(raw, chance, words)

    return mutate


def _spots(holder: Any) -> Iterator[_Spot]:
    """Every place of a value below ``holder``."""
    pending = [holder]
    while pending:
        node = pending.pop()
        for at in range(len(node)) if isinstance(node, list) else list(node):
            yield node, at
            if isinstance(node[at], (dict, list)):
                pending.append(node[at])


def _change(holder: Any, at: Any, spots: Sequence[_Spot], chance: Random, names: Sequence[str]) -> None:
    value = holder[at]
    match chance.randrange(8):
        case 0:
            holder[at] = _fresh(chance.choice(ODD_VALUES))
        case 1:
            other, place = chance.choice(spots)
            holder[at] = _fresh(other[place])
        case 2 if isinstance(value, dict):
            value[chance.choice(names)] = _fresh(chance.choice(ODD_VALUES))
        case 3 if isinstance(holder, dict) and len(holder) > 1:
            del holder[at]
        case 4 if isinstance(holder, dict):
            holder[chance.choice(names)] = holder.pop(at)
        case 5:
            holder[at] = [value] if chance.random() < 0.5 else {chance.choice(names): value}
        case 6 if isinstance(value, str):
            holder[at] = mutated_bytes(value.encode("utf-8", "surrogatepass"), chance).decode(errors="replace")
        case 7 if isinstance(value, str):
            holder[at] = value + chance.choice(names)
        case _:
            holder[at] = _fresh(chance.choice(ODD_VALUES))


def _fresh(value: Any) -> Any:
    """A copy that shares nothing, for a tree must stay one."""
    return json.loads(json.dumps(value))
