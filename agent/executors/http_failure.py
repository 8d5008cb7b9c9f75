"""What people read when a request failed: what happened, and what to do about it."""

from __future__ import annotations

import httpx

from agent.domain.outcome import Failed, FailureKind
from agent.executors.http_answer import Answer
from agent.executors.http_redirect import MAX_REDIRECTS
from agent.executors.http_request import HttpRequest
from agent.executors.http_targets import TargetSilentError
from agent.net.errors import AddressRefusedError, CertificateError, NameNotFoundError, never_sent
from agent.net.shown import shown_url

_HINTS: tuple[tuple[type[httpx.TransportError], str], ...] = (
    (
        AddressRefusedError,
        "if it is meant, set allow_link_local: true under the route's http, or AGENT_HTTP_ALLOW_LINK_LOCAL",
    ),
    (CertificateError, "give the CA that signed it under the route's http.ca_file, or in SSL_CERT_FILE"),
    (NameNotFoundError, "check the host in the url, and the DNS of the agent's network"),
    (httpx.ProxyError, "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the agent"),
    (httpx.ConnectTimeout, "check that the agent's network may reach it"),
    (httpx.ConnectError, "check that the service runs and that the agent's network may reach it"),
)


def failure_of(request: HttpRequest, error: httpx.TransportError, timeout_s: float) -> Failed:
    """The outcome of a request that got no answer within ``timeout_s``."""
    if isinstance(error, TargetSilentError):
        return Failed(f"{request.title} was not sent: {error}", FailureKind.TARGET_SILENT)
    timed_out = isinstance(error, httpx.TimeoutException) and not never_sent(error)
    hint = next((text for kind, text in _HINTS if isinstance(error, kind)), None)
    if not never_sent(error):
        hint = "it may have been executed all the same"
    if timed_out:
        hint = f"{hint}; a service that needs more than {timeout_s:g} s needs a longer timeout under http"
    reason = f"{request.title} failed: {error}" + (f" ({hint})" if hint else "")
    return Failed(reason, FailureKind.TIMED_OUT if timed_out else FailureKind.CONNECTION)


def refusal_of(request: HttpRequest, answer: Answer, excerpt: str, *, follows_redirects: bool = False) -> Failed:
    """The outcome of a request whose answer is not a 2xx. ``excerpt`` of its body, empty to quote nothing.

    ``follows_redirects``: one that is still a redirect was one too many.
    """
    reason = f"{request.title} answered {answer.title}"
    if answer.is_redirect and follows_redirects:
        reason += f" after {MAX_REDIRECTS} redirects; no more are followed, for they seem to go in a circle"
    elif answer.is_redirect:
        target = _location(request, answer)
        pointed = f" and points to {target}" if target else ""
        reason += f"{pointed}; redirects are not followed: use the final url in the action or the route"
    elif excerpt:
        reason += f": {excerpt}"
    return Failed(reason, FailureKind.HTTP_STATUS)


def _location(request: HttpRequest, answer: Answer) -> str | None:
    location = answer.headers.get("location")
    try:
        return shown_url(request.url.join(location)) if location else None
    except (httpx.InvalidURL, UnicodeError):  # where it asks for another request, httpx has refused such an answer
        return None
