"""The expressions and messages that the search of the expressions begins with, and how it goes on from them.

An input is an expression, a NUL and what the message holds; see `tests.fuzz.expressions`.
"""

from __future__ import annotations

import json
import re
from random import Random

from agent.routing.jq_tokens import tokenize
from tests.fuzz.mutation import mutated_bytes, mutated_json, printed_json

_SOURCES = (
    ".",
    ".inputs",
    ".inputs.secret",
    ".message.a[0].b",
    '.message["a b"][-1]',
    '.message."a"',
    '.inputs.name // "none"',
    '.message | map(.x + "y") | join(", ")',
    "[.inputs.list[] | tostring]",
    '"a\\(.inputs.text | ascii_downcase)b"',
    "{name: .inputs.secret, (.run.id): [1, 2.5e3]}",
    'if .message == null then "x" elif true then empty else error("no") end',
    "error(.inputs.text)",
    ".inputs.secret | tonumber",
    ".inputs.secret | fromjson",
    "@base64d",
    '.inputs | @sh "a \\(.secret)"',
    ".inputs | to_entries | map(select(.value != null)) | from_entries",
    "env.REGION",
    "$ENV.REGION",
    "env | keys",
    "$__prog_args",
    "$__env",
    "def f: .; f",
    ". as $x | $x",
    "reduce range(5) as $i (0; . + $i)",
    '.inputs.secret | test("a"; "g")',
    "try error(.) catch .",
    "[limit(3; repeat(1))]",
    "path(..)",
    ".inputs.secret - 1",
    ".first-name",
    "input_filename, $__loc__, now",
    "# nothing\n.inputs",
    "# }} \n.inputs # and \\\n .run\n.run # \\\r\n\n.id",
    "ltrimstr(1) | @json | tojson | @json",
    ".inputs.list | sort_by(.) | group_by(.) | unique | reverse | add",
)
_MESSAGES = (
    b"",
    b'{"a":[{"b":1.0},"x"],"a b":[1e17,-0.0,12345678901234567891]}',
    b'["x","y",null,true,{"x":{}}]',
    b'"\\ud800 text"',
    b"((((",
    b'{"x":"\\"\\"\\""}',
    b'*"\\\\"',
    b"*{}",
    b'*[1,"1"]',
)
SEEDS: list[bytes] = [f"{source}\0".encode() + message for source in _SOURCES for message in _MESSAGES[:2]]
SEEDS += [f"{source}\0".encode() + _MESSAGES[-1] for source in _SOURCES[::6]]
SEEDS += [b".message\0" + message for message in _MESSAGES]

_WORDS = [
    *re.findall(
        r"\S+",
        r"""
    . .. , | : ; ? // + - * / % == != < <= > >= ( ) [ ] { } \( # = |= += ?// as and or not if then elif else end
    null true false try catch def reduce foreach label break import include empty error add any all
    ascii_downcase ascii_upcase ceil endswith env first floor from_entries fromjson group_by has isempty
    join keys keys_unsorted last length ltrimstr map max min now nulls reverse round rtrimstr scalars
    select sort sort_by startswith strings to_entries todate tojson tonumber tostring type unique
    unique_by values with_entries range limit repeat recurse test gsub split path getpath input debug
    tojson ascii explode implode ltrimstr splits halt halt_error input_filename get_search_list
    @text @json @html @uri @urid @csv @tsv @sh @base64 @base64d $ENV $__env $__loc__ $__prog_args $x f a::b
    " "a" "" "REGION" "\( 0 1 -1 1e1000 .5 nan infinite .inputs .secret .pin .text .list .message .a .b
    .[] .[0] .["a"] [.] [.,.] {a:.}
    """,
    ),
    *("# \\\n", "# \\\r\n", '# }} "\n'),
]
_STARRED = 0.03
_JOINTS = ("{} | {}", "[{}] | {}", "{} // {}", '"\\({}) {}"', "map({}) | {}", "({}), {}")


def mutate(source: bytes, chance: Random) -> bytes:
    """Words of jq put in, left out, moved, or whole expressions put together; sometimes another message."""
    head, _, tail = source.partition(b"\0")
    text = head.decode(errors="replace")
    match chance.randrange(8):
        case 0:
            text = chance.choice(_JOINTS).format(text, chance.choice(_SOURCES))
        case 1:
            text = mutated_bytes(head, chance).decode(errors="replace")
        case 2:
            tail = _other_message(tail, chance)
        case _:
            text = _reworded(text, chance)
    return text.encode("utf-8", "replace") + b"\0" + tail


def _reworded(text: str, chance: Random) -> str:
    words = [token.text for token in tokenize(text)] or [text]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(words) + 1)
        match chance.randrange(4):
            case 0:
                words.insert(at, chance.choice(_WORDS))
            case 1 if at < len(words):
                words[at] = chance.choice(_WORDS)
            case 2 if at < len(words) > 1:
                del words[at]
            case _:
                begin = chance.randrange(len(words))
                words[at:at] = words[begin : begin + chance.randint(1, 12)]
    return chance.choice(("", " ", "\n")).join(words)


def _other_message(raw: bytes, chance: Random) -> bytes:
    if chance.random() < 0.3:
        return chance.choice(_MESSAGES)
    star = b"*" if chance.random() < _STARRED else b""
    try:
        raw = raw.removeprefix(b"*")
        return star + printed_json(mutated_json(json.loads(raw), chance, ("a", "b", "x", "a b")), chance)
    except (ValueError, RecursionError):
        return mutated_bytes(raw, chance)
