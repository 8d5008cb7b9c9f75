"""Reads a YAML or JSON file into plain values, and remembers on which line everything stands.

YAML is read as version 1.2 resolves it: only ``true`` and ``false`` are booleans (``on`` and ``yes`` are text),
``1:30`` and ``2024-01-01`` are text, keys are always text. JSON is a part of that. Merge keys (``<<``) work.
Values are built from the parser's events without recursion, so that no file can exhaust the stack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import Json
from agent.routing.places import item, member, parent

LARGEST_FILE_BYTES = 4 * 1024 * 1024
_MOST_VALUES = 100_000
_DEEPEST = 64

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STANDARD_TAG = "tag:yaml.org,2002:"
_SURROGATE_PAIR = re.compile(r"\\(?:\\|(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))")


@dataclass(frozen=True)
class Document:
    """A file's value, and the line (from 1) of each place in it; ``where`` is the file's name."""

    where: str
    value: Json
    lines: Mapping[str, int]

    def at(self, path: str) -> str:
        """``file:line`` of the place, or of the nearest place around it."""
        while path and path not in self.lines:
            path = parent(path)
        return f"{self.where}:{self.lines.get(path, 1)}"

    def problem(self, path: str, message: str, hint: str = "") -> Problem:
        """A problem at a place of this document."""
        return Problem(self.at(path), message, path, hint)


def read_file(path: Path, hint: str = "check AGENT_ROUTES_PATH and what is mounted") -> bytes:
    """The file's content; ``hint`` says what to do where there is none.

    Raises `ConfigurationError` if it cannot be had or is larger than 4 MiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _broken(str(path), "there is no such file", hint) from None
    except IsADirectoryError:
        raise _broken(str(path), "this is a directory, a file was expected", "name the file in it") from None
    except OSError as error:
        raise _broken(str(path), f"cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise _broken(str(path), f"is larger than {LARGEST_FILE_BYTES // 2**20} MiB")
    return content


def parse(content: bytes, where: str) -> Document:
    """The document in ``content``; ``where`` is its file's name.

    Raises `ConfigurationError`: at once for what is no YAML, with all duplicate keys otherwise.
    """
    text = _decoded(content, where)
    if text.lstrip()[:1] in ("{", "["):
        text = _with_joined_surrogates(text)
    builder = _Builder(where)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text, where) from None
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        message = f"not YAML: the character U+{error.character:04X} is not allowed"
        raise _broken(f"{where}:{line}", message, 'write it as an escape in double quotes: "\\u…"') from None
    if builder.problems:
        raise ConfigurationError(*builder.problems)
    return Document(where, builder.root, builder.lines)


@dataclass
class _Open:
    """A list or an object that is not complete yet."""

    value: list[Json] | dict[str, Json]
    path: str
    anchor: str | None
    size_before: int
    key: str | None = None
    is_merge: bool = False
    merged: dict[str, Json] = field(default_factory=dict)

    def next_path(self) -> str:
        if isinstance(self.value, list):
            return item(self.path, len(self.value))
        return member(self.path, self.key or "")


class _Builder:
    """Makes values of the parser's events, one after another."""

    def __init__(self, where: str) -> None:
        self.root: Json = None
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._where = where
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Json, int]] = {}
        self._size = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """The next event. Raises `ConfigurationError` for what this file may not hold."""
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", line)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._error(line, "a second document begins here (`---`); one is expected")
            case _:  # the stream's and the documents' ends
                pass

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._expects_key():
            self._key(event.value, line, is_merge=event.value == "<<" and event.implicit[0])
            return
        try:
            value = _resolve(event)
        except ValueError as error:
            raise self._error(line, str(error)) from None
        self._add(value, line, event.anchor, size=1)

    def _key(self, key: str, line: int, *, is_merge: bool) -> None:
        top = self._open[-1]
        top.key, top.is_merge = key, is_merge
        path = top.next_path()
        if key in top.value and not is_merge:
            first = self.lines[path]
            message = f"the key {key!r} stands here a second time; the first is on line {first}"
            self.problems.append(Problem(f"{self._where}:{line}", message, path))
        self.lines[path] = line

    def _alias(self, anchor: str, line: int) -> None:
        if self._expects_key():
            raise self._error(line, "an alias (`*`) cannot be a key here", "put the key in quotes")
        if anchor not in self._anchors:
            raise self._error(line, f"the alias *{anchor} has no anchor &{anchor} that ends before it")
        value, size = self._anchors[anchor]
        self._add(value, line, None, size)

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, line: int) -> None:
        if self._expects_key():
            message = "a list or object cannot be a key"
            raise self._error(line, message, 'text that holds {{ … }} needs quotes: "{{ .inputs.name }}"')
        if len(self._open) >= _DEEPEST:
            raise self._error(line, f"nested more than {_DEEPEST} levels deep")
        if event.tag is not None and not event.tag.startswith(_STANDARD_TAG):
            raise self._error(line, f"the tag {event.tag} is not supported")
        path = self._open[-1].next_path() if self._open else ""
        self.lines.setdefault(path, line)
        empty: list[Json] | dict[str, Json] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self._open.append(_Open(empty, path, event.anchor, self._size))

    def _end(self) -> None:
        closed = self._open.pop()
        value: Json = closed.value
        if isinstance(closed.value, dict):
            value = {**closed.merged, **closed.value}
        self._add(
            value, self.lines[closed.path], closed.anchor, size=1, with_children=self._size - closed.size_before
        )

    def _add(self, value: Json, line: int, anchor: str | None, size: int, with_children: int = 0) -> None:
        self._size += size
        if self._size > _MOST_VALUES:
            raise self._error(line, f"more than {_MOST_VALUES} values, counting what aliases repeat")
        if anchor is not None:
            self._anchors[anchor] = (value, size + with_children)
        if not self._open:
            self.root = value
            return
        top = self._open[-1]
        self.lines.setdefault(top.next_path(), line)
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.is_merge:
            self._merge(top, value, line)
            top.key = None
        else:
            top.value[top.key or ""] = value
            top.key = None

    def _merge(self, top: _Open, value: Json, line: int) -> None:
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                raise self._error(line, "`<<` merges an object or a list of objects into this one")
            top.merged = {**part, **top.merged}

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _error(self, line: int, message: str, hint: str = "") -> ConfigurationError:
        return _broken(f"{self._where}:{line}", message, hint)


def _resolve(event: yaml.ScalarEvent) -> Json:
    text: str = event.value
    if event.tag not in (None, "!", _STANDARD_TAG + "str"):
        raise ValueError(f"the tag {event.tag} is not supported")
    return _resolve_plain(text) if event.tag is None and event.implicit[0] else text


def _resolve_plain(text: str) -> Json:
    """What unquoted text means in YAML 1.2's core schema."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8: byte 0x{content[error.start]:02x}"
        raise _broken(f"{where}:{line}", message, "save the file as UTF-8") from None


def _with_joined_surrogates(text: str) -> str:
    """JSON escapes a character beyond U+FFFF as two; YAML's parser only takes it whole."""

    def joined(found: re.Match[str]) -> str:
        escapes = found[1]
        if escapes is None:
            return found[0]
        return bytes.fromhex(escapes[1:5] + escapes[7:11]).decode("utf-16-be")

    return _SURROGATE_PAIR.sub(joined, text)


def _syntax(error: yaml.MarkedYAMLError, text: str, where: str) -> ConfigurationError:
    is_unfinished = "end of stream" in (error.problem or "") and error.context_mark is not None
    mark = error.context_mark if is_unfinished else error.problem_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    source = "".join(text.split("\n")[line : line + 1])
    hint = ""
    if source[:column].strip() == "" and "\t" in source[: column + 1]:
        hint = "indent with spaces, not tabs"
    elif "{{" in source:
        hint = 'text that holds {{ … }} needs quotes: "{{ .inputs.name }}"'
    elif source[column : column + 1] in tuple("@`%"):
        hint = f"text that begins with {source[column]} needs quotes"
    elif "mapping values" in (error.problem or ""):
        hint = "text that holds a colon and a blank needs quotes"
    elif "did not find expected" in (error.problem or "") and not source[:column].strip() and not is_unfinished:
        hint = "check the indentation: what belongs together begins in the same column"
    return _broken(f"{where}:{line + 1}", f"not YAML: {error.problem} (column {column + 1})", hint)


def _broken(where: str, message: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError(Problem(where, message, hint=hint))
