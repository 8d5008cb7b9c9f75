"""What a request header may look like."""

from __future__ import annotations

import re
from collections.abc import Sequence

CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They belong to the connection, not to the message."""

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TOKEN = re.compile(_NAME)
_PLAIN = re.compile(rf"(?:{_NAME}\0[ -~]*\n)*")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def are_plain(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether all of them can be sent, found out in one look; ``False`` says nothing, see `header_problem`.

    What is looked at is all of them in one text; the count of its lines tells where one of them holds a line's end.
    """
    text = "".join([f"{name}\0{value}\n" for name, value in headers])
    return text.count("\n") == len(headers) and _PLAIN.fullmatch(text) is not None


def header_problem(name: str, value: str) -> str | None:
    """Why this header can't be sent, without quoting its value; ``None`` if it can.

    A line break inside one would begin another header, or another request.
    """
    if not is_token(name):
        return f"{name!r} is not a header name"
    if value.isascii() and value.isprintable():
        return None
    if _UNPRINTABLE.search(value):
        return f"the value of header {name} has a line break or another control character in it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"the value of header {name} cannot be written in UTF-8"
    return None


def is_token(text: str) -> bool:
    """Whether ``text`` can be the name of a header, or a method."""
    return _TOKEN.fullmatch(text) is not None
