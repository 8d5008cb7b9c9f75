"""What came back: an answer read as far as it is wanted, and how it looks in reports and to people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from typing import Never

from agent.domain.json import Json, JsonObject
from agent.net.incoming import Incoming
from agent.ports import RunContext

_EXCERPT_CHARS = 300
LEADING = frozenset({301, 302, 303, 307, 308})
"""Redirects that ask for another request, where they name one."""
_REPLACEMENT = "\ufffd"
_UNREADABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; ``text`` is cut where ``truncated``."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    text: str
    truncated: bool
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    """As the server wrote them."""

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether it points elsewhere."""
        return 300 <= self.status < 400

    @property
    def leads_nowhere(self) -> bool:
        """Whether it is a 3xx that asks for no other request: 304, for one, whatever Location it names."""
        return self.is_redirect and not (self.status in LEADING and "location" in self.headers)

    @property
    def title(self) -> str:
        """``503 Service Unavailable``."""
        return f"{self.status} {self.phrase}".rstrip()

    def masked(self, run: RunContext) -> Answer:
        """The same; where it is cut, without the run's secrets: half of one could not be masked any more."""
        return replace(self, text=run.masked(self.text, is_cut=True)) if self.truncated else self

    def excerpt(self, run: RunContext) -> str:
        """The beginning of the body on one line, empty if there is none; without the run's secrets."""
        start = self.text[: 4 * _EXCERPT_CHARS]
        line = _UNREADABLE.sub(" ", run.masked(start, is_cut=len(start) < len(self.text))).strip()
        return line if len(line) <= _EXCERPT_CHARS else line[:_EXCERPT_CHARS] + "…"

    def as_json(self) -> JsonObject:
        """``.response`` of report templates; header names as the server writes them, ``json`` null if it isn't."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("utf-8", "replace")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return {
            "statusCode": self.status,
            "headers": headers,
            "text": self.text,
            "json": None if self.truncated else _json(self.text),
            "truncated": self.truncated,
        }


async def read_answer(incoming: Incoming, max_bytes: int) -> Answer:
    """Reads at most ``max_bytes`` of the body, decoded; closes it. Raises `httpx.TransportError`."""
    body, truncated = await incoming.read(max_bytes)
    text = _text(body, _charset(incoming.headers.get("Content-Type", "")))
    return Answer(
        status=incoming.status,
        phrase=incoming.phrase,
        headers=incoming.headers,
        raw_headers=incoming.raw_headers,
        # What is left of a character that was cut through would hide that a secret begins before it.
        text=text.rstrip(_REPLACEMENT) if truncated else text,
        truncated=truncated,
    )


def _charset(content_type: str) -> str | None:
    if "charset" not in content_type.lower():
        return None
    message = Message()
    message["Content-Type"] = content_type
    return message.get_content_charset()


def _text(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):  # no such charset, or one that is not for text
        return body.decode("utf-8", "replace")


def _json(text: str) -> Json:
    try:
        value: Json = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
