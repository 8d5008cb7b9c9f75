"""Where an answer sends a request on to, and what of the request goes with it."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache

import httpx

from agent.executors.http_answer import LEADING
from agent.net.incoming import Incoming
from agent.net.outgoing import Outgoing, wire_url
from agent.net.shown import shown_url

MAX_REDIRECTS = 30

_CREDENTIAL = re.compile(
    r"(?:.*-)?(?:authorization|cookie|token|secret|password|passwd|(?:(?:api|access|application|auth|private|secret|"
    r"subscription)-?)key)",
    re.IGNORECASE,
)
_OF_THE_BODY = frozenset({"content-length", "content-type", "x-port-signature", "x-port-timestamp"})


@lru_cache(256)
def is_credential(header: str) -> bool:
    """Whether a header of this name says who asks: its value is a secret, and meant for one server."""
    return _CREDENTIAL.fullmatch(header) is not None


def onward(sent: Outgoing, answer: Incoming) -> Outgoing | None:
    """The request that ``answer`` to ``sent`` asks for; ``None`` if it is no redirect.

    Credentials stay with the server that they were meant for, be it that the same host is asked by https now, and
    so does a ``Host`` of the route's own. A request without its body leaves behind what was said about the body.
    Raises `httpx.TransportError` where it points to nothing that can be called.
    """
    location = _location(answer)
    if answer.status not in LEADING or location is None:
        return None
    here = httpx.URL(str(sent.url))
    there = _target(here, location)
    method = _method(sent.method, answer.status)
    same = _is_same_server(here, there)
    left = _OF_THE_BODY if method != sent.method else frozenset()
    kept = [
        (name, value)
        for name, value in sent.headers
        if name.lower() not in left | {"cookie"} and (same or not (is_credential(name) or name.lower() == "host"))
    ]
    body = sent.body if method == sent.method else None
    return Outgoing(method, wire_url(there), with_credentials(kept, there), body, sent.timeouts)


def with_credentials(headers: list[tuple[str, str]], url: httpx.URL) -> list[tuple[str, str]]:
    """The headers, and what ``url`` says of who asks, if it does."""
    if not url.userinfo:
        return headers
    credentials = b64encode(f"{url.username}:{url.password}".encode()).decode()
    others = [(name, value) for name, value in headers if name.lower() != "authorization"]
    return [*others, ("Authorization", f"Basic {credentials}")]


def is_downgrade(sent: Outgoing, request: Outgoing) -> bool:
    """Whether what was sent by https is to be sent for everybody on the way to read."""
    return sent.url.scheme == "https" != request.url.scheme


def title_of(request: Outgoing) -> str:
    """``GET https://host/path``, without credentials and query."""
    return f"{request.method} {shown_url(httpx.URL(str(request.url)))}"


def _location(answer: Incoming) -> str | None:
    """As servers mean it: UTF-8, or else Latin-1."""
    raw = next((value for name, value in answer.raw_headers if name.lower() == b"location"), None)
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _target(here: httpx.URL, location: str) -> httpx.URL:
    try:
        there = httpx.URL(location)
        if there.scheme and not there.host:  # some servers write http:///path for their own
            return there.copy_with(host=here.host, port=here.port if there.scheme == here.scheme else None)
        return here.join(there) if there.is_relative_url else there
    except (httpx.InvalidURL, ValueError) as error:
        # It is not quoted: nobody knows what stands in it.
        raise httpx.RemoteProtocolError("the answer points to something that is no url") from error


def _method(method: str, status: int) -> str:
    """As browsers do it, whatever the standard says."""
    becomes_get = (status in (302, 303) and method != "HEAD") or (status == 301 and method == "POST")
    return "GET" if becomes_get else method


def _is_same_server(here: httpx.URL, there: httpx.URL) -> bool:
    if here.host != there.host:
        return False
    ports = [url.port or {"http": 80, "https": 443}.get(url.scheme) for url in (here, there)]
    if here.scheme == there.scheme:
        return ports[0] == ports[1]
    return (here.scheme, there.scheme, *ports) == ("http", "https", 80, 443)
