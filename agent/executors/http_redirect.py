"""Where an answer sends a request on to, and what of the request goes with it."""

from __future__ import annotations

import re

import httpx

from agent.net.shown import shown_url

MAX_REDIRECTS = 30

_CREDENTIAL = re.compile(
    r"(?:.*-)?(?:authorization|cookie|token|secret|password|passwd|(?:(?:api|access|application|auth|private|secret|"
    r"subscription)-?)key)",
    re.IGNORECASE,
)
_OF_THE_BODY = ("Content-Type", "X-Port-Signature", "X-Port-Timestamp")


def is_credential(header: str) -> bool:
    """Whether a header of this name says who asks: its value is a secret, and meant for one server."""
    return _CREDENTIAL.fullmatch(header) is not None


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The head of the answer to ``request``. Raises `httpx.TransportError`, also where it points to no url."""
    try:
        return await client.send(request, stream=True)
    except (httpx.InvalidURL, UnicodeError) as error:
        # httpx reads the Location of every answer. It is not quoted: nobody knows what stands in it.
        raise httpx.RemoteProtocolError("the answer points to something that is no url") from error


def onward(response: httpx.Response) -> httpx.Request | None:
    """The request that ``response`` asks for; ``None`` if it is no redirect.

    Credentials stay with the server that they were meant for, be it that the same host is asked by https now. A
    request without its body leaves behind what was said about the body.
    """
    request = response.next_request
    if request is None:
        return None
    if not _is_same_server(response.request.url, request.url):
        for name in [name for name in request.headers if is_credential(name)]:
            del request.headers[name]
    if request.method != response.request.method:
        for name in _OF_THE_BODY:
            request.headers.pop(name, None)
    return request


def is_downgrade(response: httpx.Response, request: httpx.Request) -> bool:
    """Whether what was sent by https is to be sent for everybody on the way to read."""
    return response.request.url.scheme == "https" and request.url.scheme == "http"


def title_of(request: httpx.Request) -> str:
    """``GET https://host/path``, without credentials and query."""
    return f"{request.method} {shown_url(request.url)}"


def _is_same_server(here: httpx.URL, there: httpx.URL) -> bool:
    if here.host != there.host:
        return False
    ports = [url.port or {"http": 80, "https": 443}.get(url.scheme) for url in (here, there)]
    if here.scheme == there.scheme:
        return ports[0] == ports[1]
    return (here.scheme, there.scheme, *ports) == ("http", "https", 80, 443)
