"""What a command wrote into ``$AGENT_OUTPUT``, read as a value; pure.

The file holds lines ``name=value`` and blocks ``name<<EOF`` … ``EOF`` with any delimiter. ``link`` (may repeat),
``summary``, ``status_label``, ``external_run_id`` and ``entity`` (a JSON object, may repeat) have a meaning; every
other name is an output of the run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.domain.json import Json, JsonObject
from agent.domain.route import EntityVerb
from agent.ports import EntityParts

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PLAIN_NAMES = ("summary", "status_label", "external_run_id")
MAX_COMPLAINTS = 20
"""A file of a megabyte may hold half a million bad lines; nobody reads on after these."""
_SHOWN_CHARS = 40
"""What is longer is not repeated in a complaint, nor cut there: half a secret would not be masked."""
_MAX_DEPTH = 100
"""Far above what an entity needs, far below where masking and printing it would fail."""
_ENTITY_KEYS = ("blueprint", "identifier", "verb", "title", "icon", "properties", "relations", "team")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What could not be used. ``line`` counts from 1 (``None``: the file); ``grave``: an entity may be lost."""

    line: int | None
    message: str
    grave: bool = False

    def __str__(self) -> str:
        """As the run's log shows it."""
        place = "$AGENT_OUTPUT" if self.line is None else f"$AGENT_OUTPUT line {self.line}:"
        return f"{place} {self.message}"


@dataclass(frozen=True, slots=True)
class EntityRequest:
    """A catalogue change that the command asks for; only an upsert may lack the identifier."""

    verb: EntityVerb
    blueprint: str
    identifier: str | None
    parts: EntityParts


@dataclass(slots=True)
class Outputs:
    """What the file says, in its order; of names that count once the last one wins.

    Of the complaints the first `MAX_COMPLAINTS` are kept, and if none of these is grave, the first grave one;
    ``more_complaints`` counts the others.
    """

    links: list[str] = field(default_factory=list)
    summary: str | None = None
    status_label: str | None = None
    external_run_id: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    entities: list[EntityRequest] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    more_complaints: int = 0

    def complain(self, complaint: Complaint) -> None:
        """Keeps or counts ``complaint``."""
        has_room = len(self.complaints) < MAX_COMPLAINTS
        if has_room or (complaint.grave and not any(kept.grave for kept in self.complaints)):
            self.complaints.append(complaint)
        else:
            self.more_complaints += 1


def parse_outputs(content: bytes) -> Outputs:
    """Reads the file's content. Never raises: what cannot be used becomes a `Complaint`."""
    outputs = Outputs()
    for item in _items(content.removeprefix(b"\xef\xbb\xbf")):
        if isinstance(item, Complaint):
            outputs.complain(item)
        elif (complaint := _take(outputs, item)) is not None:
            outputs.complain(complaint)
    return outputs


@dataclass(frozen=True, slots=True)
class _Item:
    line: int
    name: str
    value: str


def _take(outputs: Outputs, item: _Item) -> Complaint | None:
    if item.name == "entity":
        try:
            outputs.entities.append(_entity(item.value))
        except ValueError as error:
            return Complaint(item.line, f"entity: {error}", grave=True)
        return None
    if item.name not in ("link", *_PLAIN_NAMES):
        outputs.values[item.name] = item.value
        return None
    value = item.value.strip()
    if not value:
        return Complaint(item.line, f"{item.name} is empty")
    if item.name == "link":
        outputs.links.append(value)
    else:
        setattr(outputs, item.name, value)
    return None


def _items(content: bytes) -> Iterator[_Item | Complaint]:
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    index = 0
    while index < len(lines):
        start = index
        index += 1
        head = lines[start]
        if not head.strip():
            continue
        name, mark, value = _split(head)
        grave = name == b"entity"
        if mark == b"<<":
            end = _find(lines, value.strip(), index)
            if end is None:
                lost = grave or any(line.lstrip().startswith(b"entity") for line in lines[index:])
                yield Complaint(
                    start + 1, f"the block is never closed, and all after it ignored{_shown(head)}", lost
                )
                return
            value, index = b"\n".join(lines[index:end]), end + 1
        yield _item(start + 1, name.strip(), mark, value)


def _split(head: bytes) -> tuple[bytes, bytes, bytes]:
    """The name, ``=`` or ``<<`` (whichever comes first), and what follows; an empty mark if there is neither."""
    name, mark, value = head.partition(b"=")
    if b"<<" in name:
        name, mark, value = head.partition(b"<<")
    return name, mark, value


def _find(lines: list[bytes], delimiter: bytes, start: int) -> int | None:
    if not delimiter:
        return None
    try:
        return lines.index(delimiter, start)
    except ValueError:
        return None


def _item(line: int, name: bytes, mark: bytes, value: bytes) -> _Item | Complaint:
    try:
        text = name.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not mark or not _NAME.fullmatch(text):
        return Complaint(line, f"expected name=value or name<<EOF{_shown(name + mark)}", _may_be_entity(name))
    grave = text == "entity"
    if b"\0" in value:
        return Complaint(line, f"the value{_of(text)} contains a NUL character", grave)
    try:
        return _Item(line, text, value.decode())
    except UnicodeDecodeError as error:
        return Complaint(line, f"the value{_of(text)} is not UTF-8 ({error.reason})", grave)


def _may_be_entity(line: bytes) -> bool:
    return line.lstrip().startswith(b"entity")


def _of(name: str) -> str:
    return f" of {name}" if len(name) <= _SHOWN_CHARS else ""


def _shown(line: bytes) -> str:
    """A bad line, where it is short and without ``=``: of half a secret nobody could tell that it is one."""
    text = line.decode(errors="replace").strip()
    return f": {text}" if len(text) <= _SHOWN_CHARS and "=" not in text and text.isprintable() else ""


def _entity(text: str) -> EntityRequest:
    """Raises `ValueError` saying what is wrong."""
    keys = _json_object(text)
    if unknown := sorted(set(keys) - set(_ENTITY_KEYS)):
        key = repr(unknown[0])
        which = key if len(key) <= _SHOWN_CHARS else f"of {len(unknown[0])} characters"
        raise ValueError(f"unknown key {which}; it may have {', '.join(_ENTITY_KEYS)}")
    blueprint, identifier = _text(keys, "blueprint"), _text(keys, "identifier")
    if blueprint is None:
        raise ValueError("blueprint is missing")
    verb = _verb(keys.get("verb", EntityVerb.UPSERT))
    if identifier is None and verb is not EntityVerb.UPSERT:
        raise ValueError(f"identifier is missing; {verb} needs it")
    parts = EntityParts(
        title=_text(keys, "title"),
        icon=_text(keys, "icon"),
        properties=_object(keys, "properties"),
        relations=_object(keys, "relations"),
        team=keys.get("team"),
    )
    return EntityRequest(verb, blueprint, identifier, parts)


def _text(keys: JsonObject, key: str) -> str | None:
    value = keys.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(f"{key} must be a text that is not empty")
    return value


def _object(keys: JsonObject, key: str) -> JsonObject | None:
    value = keys.get(key)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{key} must be an object")
    return value


def _verb(value: Json) -> EntityVerb:
    if value not in tuple(EntityVerb):
        raise ValueError(f"verb must be one of {', '.join(EntityVerb)}")
    return EntityVerb(str(value))


def _json_object(text: str) -> JsonObject:
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at line {error.lineno} of the block") from None
    if _depth(document) > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(document, dict):
        return document
    raise ValueError("must be a JSON object")


def _depth(value: Json) -> int:
    """How many lists and objects lie in each other, at most."""
    depth, level = 0, [value]
    while level := [nest for nest in level if isinstance(nest, (dict, list))]:
        depth += 1
        level = [item for nest in level for item in (nest.values() if isinstance(nest, dict) else nest)]
    return depth


def _refuse_constant(name: str) -> float:
    raise ValueError(f"not JSON: {name}")


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's own bound on the digits of an integer
        raise _too_large(digits) from None


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _too_large(digits)
    return number


def _too_large(digits: str) -> ValueError:
    which = f"the number {digits}" if len(digits) <= _SHOWN_CHARS else f"a number {len(digits)} characters long"
    return ValueError(f"{which} is too large")
