"""Any bytes as the file ``$AGENT_OUTPUT``: what is usable is taken, of the rest each line is named, nothing grows.

The oracle reads the file line by line, as the document describes it, without looking ahead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from agent.domain.json import compact
from agent.domain.redaction import Redactor
from agent.domain.route import EntityVerb
from agent.executors.outputs import MAX_COMPLAINTS, Outputs, parse_outputs
from tests.fuzz.mutation import mutated_bytes, mutated_json, printed_json
from tests.fuzz.target import Target, within

_WORDS = ("summary", "status_label", "external_run_id")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*")
_LONGEST_COMPLAINT = 200
_FIXED_S = 0.02
_PER_BYTE_S = 20e-6
_SECRET = "7777777.5"


def check(content: bytes) -> None:
    """Holds what the parser promises for ``content``."""
    outputs = within(_FIXED_S + _PER_BYTE_S * len(content), lambda: parse_outputs(content))
    expected = _read(content)
    assert (outputs.links, outputs.values) == (expected.links, expected.values)
    said = {"summary": outputs.summary, "status_label": outputs.status_label, "id": outputs.external_run_id}
    assert said == {"summary": None, "status_label": None, "id": None} | expected.words
    _check_bad_lines(outputs, expected)
    _check_complaints(outputs, content)
    _check_entities(outputs)


def _check_bad_lines(outputs: Outputs, expected: _Expected) -> None:
    """Each line that cannot be used is named once, as long as there are not too many."""
    refused = len(expected.entities) - len(outputs.entities)
    named = [complaint.line for complaint in outputs.complaints]
    assert len(named) + outputs.more_complaints == len(expected.bad_lines) + refused
    assert len(named) <= MAX_COMPLAINTS + 1
    if outputs.more_complaints:
        return
    entities = [line for line, _ in expected.entities if line in named]
    assert len(entities) == refused
    assert set(entities) >= {line for line, text in expected.entities if not _is_entity_like(text)}
    assert named == sorted(expected.bad_lines + entities)
    assert all(complaint.grave for complaint in outputs.complaints if complaint.line in entities)


def _is_entity_like(text: str) -> bool:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("blueprint"), str)


def _check_complaints(outputs: Outputs, content: bytes) -> None:
    lines = content.count(b"\n") + 1
    for complaint in outputs.complaints:
        assert complaint.line is not None
        assert 1 <= complaint.line <= lines
        assert len(str(complaint)) <= _LONGEST_COMPLAINT
        assert str(complaint).isprintable()
        str(complaint).encode()


def _check_entities(outputs: Outputs) -> None:
    for entity in outputs.entities:
        assert entity.blueprint
        assert entity.identifier or entity.verb is EntityVerb.UPSERT
        text = json.dumps([*entity.parts.values()], allow_nan=False)
        assert json.loads(text) == [*entity.parts.values()]
        Redactor([_SECRET]).mask_json(json.loads(text))
        compact([entity.blueprint, entity.identifier]).encode()


# ── the oracle ───────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Expected:
    """What a file must say; ``entities`` with their lines, right or not."""

    links: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    entities: list[tuple[int, str]] = field(default_factory=list)
    bad_lines: list[int] = field(default_factory=list)

    def take(self, line: int, name: bytes, raw: bytes) -> None:
        """One name with its value."""
        text = _decoded(raw)
        if text is None or not _NAME.fullmatch(name):
            self.bad_lines.append(line)
        elif name == b"entity":
            self.entities.append((line, text))
        elif name != b"link" and name.decode() not in _WORDS:
            self.values[name.decode()] = text
        elif not text.strip():
            self.bad_lines.append(line)
        elif name == b"link":
            self.links.append(text.strip())
        else:
            self.words["id" if name == b"external_run_id" else name.decode()] = text.strip()


@dataclass
class _Block:
    line: int
    name: bytes
    delimiter: bytes
    lines: list[bytes] = field(default_factory=list)


def _read(content: bytes) -> _Expected:
    expected = _Expected()
    block: _Block | None = None
    for line, raw in _numbered(content):
        if block is not None:
            if raw == block.delimiter:
                expected.take(block.line, block.name, b"\n".join(block.lines))
                block = None
            else:
                block.lines.append(raw)
            continue
        name, mark, value = re.fullmatch(rb"(.*?)(?:(=|<<)(.*))?", raw, re.DOTALL).groups()  # type: ignore[union-attr]  # matches everything
        if mark == b"<<":
            block = _Block(line, name.strip(), value.strip())
            if not block.delimiter:  # nothing can close it
                break
        elif mark == b"=":
            expected.take(line, name.strip(), value)
        elif raw.strip():
            expected.bad_lines.append(line)
    if block is not None:
        expected.bad_lines.append(block.line)
    return expected


def _numbered(content: bytes) -> Iterator[tuple[int, bytes]]:
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    for number, line in enumerate(content.split(b"\n"), start=1):
        yield number, line[:-1] if line.endswith(b"\r") else line


def _decoded(raw: bytes) -> str | None:
    try:
        return None if b"\0" in raw else raw.decode()
    except UnicodeDecodeError:
        return None


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────────

_ENTITY = (
    b'{"blueprint":"service","identifier":"a","title":"A","icon":"Git","verb":"patch",'
    b'"properties":{"n":1.5},"relations":{"owner":["x"]},"team":["t"]}'
)
_PIECES = (
    b"link=https://a.example/1",
    b"link = https://b.example/2 ",
    b"summary=done",
    b"summary<<EOF\ntwo\n\nlines\nEOF",
    b"status_label=\xc3\xa9",
    b"external_run_id=7",
    b"name=a=<<b",
    b"a.b-c<<--- \nx=1\r\n---",
    b"entity=" + _ENTITY,
    b"entity<<E\n" + _ENTITY + b"\nE",
    b'entity={"blueprint":"b","identifier":"i","verb":"delete"}',
    b'entity={"blueprint":"b","n":1e999}',
    b"entity={}",
    b'entity={"blueprint":"b","properties":{"a":' + b"[" * 600 + b"]" * 600 + b"}}",
    b"entity<<",
    b"entities<<E\nnever closed",
    b"not a line",
    b"x=\xff",
    b"x=\0",
    b"",
    b"\xef\xbb\xbfx=1",
)
_SEEDS = [*_PIECES, b"\n".join(_PIECES), b"\r\n".join(_PIECES)]
_NAMES = ("blueprint", "identifier", "verb", "title", "icon", "properties", "relations", "team", "upsert", "delete")


def _mutate(source: bytes, chance: Random) -> bytes:
    """Lines moved about, and now and then an entity of another shape."""
    lines = source.split(b"\n")
    at = chance.randrange(len(lines))
    match chance.randrange(5):
        case 0:
            lines.insert(at, chance.choice(_PIECES))
        case 1:
            lines[at] = b"entity=" + printed_json(mutated_json(json.loads(_ENTITY), chance, _NAMES), chance)
        case 2:
            lines[at], lines[-1] = lines[-1], lines[at]
        case 3:
            lines[at] += b"\r"
        case _:
            lines[at] = mutated_bytes(lines[at], chance, [b"<<", b"=", b"EOF", b"\n", b"entity", b"\xc2\x85", b" "])
    return b"\n".join(lines)


TARGET = Target(check, _SEEDS, _mutate, max_bytes=4096)
