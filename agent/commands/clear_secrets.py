"""Finds what is a secret by its place and stands in a route as it is, rather than in a variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from agent.domain.json import Json, JsonObject
from agent.domain.redaction import is_maskable
from agent.routing.places import item, member

_SECRET_NAME = re.compile(
    r"(?:.*[^A-Za-z])?(?i:authorization|cookie|password|passwd|secret|token|credentials?|"
    r"(?:api|access|private|secret)[-_]?key)|.*[a-z](?:Token|Secret|Password|ApiKey)",
)
"""Names of headers, parameters and members that say it: X-Api-Key, access_token, clientSecret."""


def in_clear_text(http: JsonObject) -> Iterator[str]:
    """Places in what stands under a route's ``http``: texts without jq that are secret by their names, in order."""
    url = http.get("url")
    if isinstance(url, str) and "{{" not in url and _has_secret(url):
        yield "url"
    for name in ("headers", "query", "body"):
        yield from _within(http.get(name), name, is_secret=False)


def _within(value: Json, place: str, *, is_secret: bool) -> Iterator[str]:
    match value:
        case str() if is_secret and "{{" not in value and is_maskable(value):
            yield place
        case Mapping():
            for name, part in value.items():
                yield from _within(part, member(place, name), is_secret=_is_secret_name(name))
        case list():
            for index, part in enumerate(value):
                yield from _within(part, item(place, index), is_secret=is_secret)
        case _:
            pass


def _has_secret(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.password) or any(_is_secret_name(name) for name, _ in parse_qsl(parts.query))


def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.fullmatch(name) is not None
