"""A route's url: what expressions may put into it, and what makes it one that can be called."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

import httpx

from agent.domain.errors import AgentError

_LITERAL = "!$&'()*+,;=:@/~%"
"""What stands in a path as it is, beside letters, digits and ``-._``; in a query a ``?`` as well."""
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_PLAIN = re.compile(r"[0-9A-Za-z_~-]")
"""Escapes of these are undone; that of a dot stays, for it could become a step."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REMEMBERED_CHARS = 500
_NOTHING = "\ufdd0"
"""Stands in a url that is being put together where an expression gave an empty text; no url holds this sign."""


class UnsendableError(AgentError):
    """What was rendered is no request; the text is for the run's page."""


def encoded(text: str) -> str:
    """``text`` as one piece of a url that `put_together` gets, whatever piece that is."""
    return quote(text, safe="", errors="replace") or _NOTHING


def put_together(url: str) -> str:
    """The route's url for one message, of pieces that are `encoded`.

    Raises `UnsendableError` where they lead to another resource than the route names.
    """
    if _has_gap(url):
        raise UnsendableError(
            "an expression that fills a place between slashes of the route's url gave an empty text, which leads "
            "to another resource than it names"
        )
    url = url.replace(_NOTHING, "").strip()
    if _climbs(url):
        raise UnsendableError(
            "the route's url came out with a . or .. in its path, which leads to another path than it names"
        )
    return url


def parsed(text: str) -> httpx.URL:
    """``text`` as a url that can be called, spelled as servers want it. Raises `UnsendableError`.

    Those that hold nothing secret by their place are remembered: most routes call the same one again and again.
    """
    return _parsed(text) if len(text) > _REMEMBERED_CHARS or "@" in text or "?" in text else _remembered(text)


@lru_cache(256)
def _remembered(text: str) -> httpx.URL:
    return _parsed(text)


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(_spelled(text))
    except (httpx.InvalidURL, ValueError):
        # Neither the text nor the error is quoted: there may be credentials in it.
        raise UnsendableError("the url cannot be read; it must be like https://host/path") from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise UnsendableError("the url must begin with http:// or https:// and name a host")
    if not _can_be_called(url):
        raise UnsendableError("the url's host or port is none that can be called")
    if b"%" in url.raw_host and b":" not in url.raw_host:
        raise UnsendableError(
            "the url's host holds a % sign: what expressions put inside of a url is percent-encoded; to take host "
            "and port from a message, let one expression at the very beginning of the url give all up to them"
        )
    return url


def _can_be_called(url: httpx.URL) -> bool:
    try:
        return bool(url.host) and (url.port is None or 0 < url.port < 65536)
    except ValueError:  # a host in an encoding that it is not in
        return False


def _spelled(text: str) -> str:
    """``text`` with all in its path and query percent-encoded that may not stand there, as Port's agent does it.

    Tomcat, for one, refuses a raw ``|`` or ``[``. A ``%`` that begins no escape stands for itself. Control
    characters, with which somebody may try to begin another header, are left to be refused.
    """
    parts = re.fullmatch(r"([^/?#]*//[^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", text, re.DOTALL)
    if parts is None or _CONTROL.search(text):
        return text
    place, path, query, fragment = parts.groups("")
    return place + _escaped(path, _LITERAL) + _escaped(query, _LITERAL + "?") + fragment


def _escaped(part: str, literal: str) -> str:
    if len(_ESCAPE.findall(part)) != part.count("%"):
        return quote(part, safe=literal.replace("%", ""), errors="replace")
    return quote(_ESCAPE.sub(_plain, part), safe=literal, errors="replace")


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if _PLAIN.fullmatch(character) else escape[0].upper()


def _has_gap(url: str) -> bool:
    """Whether a segment of the path is empty because of what expressions gave."""
    if _NOTHING not in url:
        return False
    path = re.split(r"[?#]", url.strip(), maxsplit=1)[0]
    return any(segment and not segment.strip(_NOTHING) for segment in path.split("/"))


def _climbs(url: str) -> bool:
    """Whether some server may take a segment of the path for a step.

    Many decode before they look, and Java's take away what follows a semicolon.
    """
    if "/." not in url and not url.startswith(".") and "\\" not in url and "%" not in url:
        return False
    path = unquote(re.split(r"[?#]", url.strip(), maxsplit=1)[0])
    return any(segment.partition(";")[0] in (".", "..") for segment in re.split(r"[/\\]", path))
