"""Any value of a routes file as a template: it is refused or rendered, and what it gives is what the language says.

jq is left out here (see `tests.fuzz.expressions`): an expression gives a value that its text decides. The oracle is
`tests.fuzz.template_language`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random

from agent.domain.errors import ConfigurationError, Problem, TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json
from agent.domain.route import Template
from agent.ports import Encode
from agent.routing.templates import compile_template, sole_expression
from tests.fuzz.mutation import mutated_bytes, mutated_json, printed_json
from tests.fuzz.target import Target, within
from tests.fuzz.template_language import Expected, FailsError, braced, given, is_bad, pieces

_FIXED_S = 0.02
_PER_BYTE_S = 50e-6


def check(source: bytes) -> None:
    """The first byte says how the template is used; the rest is JSON, or plain text where it is none."""
    usage = source[0] if source else 0
    encode = braced if usage & 1 else None
    is_name = bool(usage & 2)
    value = _value(source[1:])
    limit_s = _FIXED_S + _PER_BYTE_S * len(source)
    if isinstance(value, str):
        _check_sole(value)
    expected = Expected(has_encode=encode is not None, is_name=is_name)
    is_refused = expected.refuses(value)
    template = within(limit_s, lambda: _template(value, encode, is_name=is_name))
    assert (template is None) is is_refused
    if template is None:
        return
    shown = within(limit_s, lambda: _rendered(template))
    if isinstance(shown, TemplateError):
        assert _fails(expected, value), shown
        return
    wanted = expected.rendered(value)
    assert shown == wanted
    assert type(shown) is type(wanted)
    assert json.dumps(shown) == json.dumps(wanted)


def _template(value: Json, encode: Encode | None, *, is_name: bool) -> Template | None:
    """``None`` for what is refused: each problem tells where in the value it is."""
    try:
        return compile_template(value, "p", _compile, encode, is_name=is_name)
    except ConfigurationError as error:
        places = [problem.where for problem in error.problems]
    assert places
    assert all(place.startswith("p") for place in places)
    return None


def _rendered(template: Template) -> Json | TemplateError:
    try:
        return template.render(View({}))
    except TemplateError as error:
        return error


def _check_sole(text: str) -> None:
    sole = sole_expression(text)
    cut = pieces(text.strip())
    assert (sole is not None) is (cut is not None and [is_jq for is_jq, _ in cut] == [True])
    if sole is not None:
        assert f"{{{{{sole}}}}}" == text.strip()


def _fails(expected: Expected, value: Json) -> bool:
    try:
        expected.rendered(value)
    except FailsError:
        return True
    return False


# ── what stands in for jq ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Fixed:
    """An expression whose text decides its value."""

    value: Json

    def render(self, view: View) -> Json:  # noqa: ARG002 - it reads nothing
        return self.value


def _compile(source: str, path: str) -> Template:
    if is_bad(source):
        raise ConfigurationError(Problem(path, "bad"))
    return _Fixed(given(source))


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────────

_TEXTS = (
    "plain",
    "{{ .inputs.name }}",
    " {{.a}}\n",
    "https://{{ .a }}/{{ env.REGION }}/{{ $ENV.REGION }}",
    "{{ .a }}{{ .b }}",
    '{{ "}}" }}x{{ "a\\(.b | "}}" )c}}" }}',
    '{{ {"a": {}} }}',
    "{{ # a comment }}",
    '{{ .a # a "comment\n }}',
    '{{ .a # goes on \\\n " }} \n .b }}',
    "{{ [.a # }} \n ] }}",
    '{{ "{{" }} and {{ [.x[]] }}',
    "{{ BAD }}",
    "{{ .open",
    '{{ "open }}',
    "{{}}",
    "}} {{ )]} }}",
    "{{ spreadValue() }}",
)
_SEEDS = [
    *(bytes([usage]) + text.encode() for usage in range(4) for text in _TEXTS),
    *(
        bytes([usage]) + json.dumps({text: [text, {"k": text}] for text in _TEXTS[:8] + _TEXTS[-1:]}).encode()
        for usage in range(4)
    ),
]
_WORDS = [
    *(b"{{", b"}}", b'"', b"\\(", b")", b"(", b"[", b"]", b"{", b"}", b"#", b"\n", b"\\", b"::", b".a", b"$ENV"),
    *(b"env.REGION", b"{{ spreadValue() }}", b"{{ .a }}", b"1e5", b"//", b"@sh", b"BAD", b" "),
]


def _mutate(source: bytes, chance: Random) -> bytes:
    """A neighbour in its text, or in the tree where it is JSON."""
    usage, rest = source[:1] or b"\0", source[1:]
    if chance.random() < 0.2:
        usage = bytes([chance.randrange(4)])
    value = _value(rest)
    if chance.random() < 0.1:
        value = {"k": value, chance.choice(_TEXTS): chance.choice(_TEXTS)}
    if isinstance(value, (dict, list)) and chance.random() < 0.7:
        return usage + printed_json(mutated_json(value, chance, _TEXTS), chance)
    return usage + mutated_bytes(rest, chance, _WORDS)


def _value(raw: bytes) -> Json:
    text = raw.decode(errors="replace")
    try:
        value: Json = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse(name: str) -> float:
    """NaN is not even equal to itself."""
    raise ValueError(name)


TARGET = Target(check, _SEEDS, _mutate, max_bytes=2048)
