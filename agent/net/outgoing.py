"""One request as it is written."""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Sequence
from dataclasses import dataclass

import httpx
from yarl import URL

from agent.net.headers import are_plain, header_problem, is_token

_FRAMING = frozenset({"content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of one request, in seconds; ``None`` is no end. ``connect_s`` covers waiting for a free connection, too.

    ``read_s`` bounds each silence of the server once the request is written, or handed to the system where it is
    small; ``write_s + read_s`` the time from there, or from the connection, until the answer begins.
    """

    connect_s: float | None
    write_s: float | None
    read_s: float | None

    @property
    def answer_s(self) -> float | None:
        """For how long the beginning of the answer is waited for."""
        after_s = self.after_connect_s
        return None if self.connect_s is None or after_s is None else self.connect_s + after_s

    @property
    def after_connect_s(self) -> float | None:
        """The same once there is a connection."""
        return None if self.write_s is None or self.read_s is None else self.write_s + self.read_s


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request as it is written: nothing is added to ``headers`` but what frames the body, and ``Host``.

    ``method`` is upper case. Of ``headers`` none may frame the body but a true ``Content-Length``.
    """

    method: str
    url: URL
    headers: Sequence[tuple[str, str]]
    body: bytes | AsyncIterable[bytes] | None
    timeouts: Timeouts


def request_problem(request: Outgoing, names: Collection[str]) -> str | None:
    """Why this request can't be sent, without quoting its path or values; ``None`` if it can.

    ``names`` are those of its headers, in lower case.
    """
    path = request.url.raw_path_qs
    if not is_token(request.method) or not path.isascii() or not path.isprintable() or " " in path:
        return "the request cannot be sent: its method or path is none"
    if are_plain(request.headers) and _FRAMING.isdisjoint(names):
        return None
    for name, value in request.headers:
        problem = header_problem(name, value)
        if problem is None and name.lower() in _FRAMING and not _frames(name, value, request.body):
            problem = "the request cannot be sent: its headers frame another body"
        if problem is not None:
            return problem
    return None


def _frames(name: str, value: str, body: bytes | AsyncIterable[bytes] | None) -> bool:
    if name.lower() == "transfer-encoding":
        return False
    return not isinstance(body, bytes | None) or value == str(len(body or b""))


def wire_url(url: httpx.URL) -> URL:
    """The URL without credentials and fragment, in httpx's own spelling.

    The query stays part of the path: split off, an empty one would be lost. Raises `httpx.LocalProtocolError` for a
    place that cannot be, such as port 99999.
    """
    place, path = url.netloc.decode("ascii"), url.raw_path.decode("ascii")
    if not 0 < (url.port or 80) < 65536:
        raise httpx.LocalProtocolError(f"{place} is no place that can be called")
    return URL.build(scheme=url.scheme, authority=place, path=path, encoded=True)
