"""What a route may say under ``http:``, and what of it needs no rendering."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from agent.domain.duration import duration_schema, parse_duration_s
from agent.domain.errors import Problem
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.retry import Backoff
from agent.executors.http_pool import ClientOptions
from agent.executors.http_retry import DEFAULT_ATTEMPTS, DEFAULT_STATUSES, RetryRule
from agent.executors.http_url import UnsendableError, parsed, put_together
from agent.net.outgoing import Timeouts
from agent.ports import ExecutorSettings, TemplateCompiler

DEFAULT_MAX_RESPONSE_BYTES = 1024 * 1024
_DEFAULT_CONNECT_TIMEOUT_S = 10.0

METHOD = re.compile(r"[A-Z][A-Z-]{0,30}")
"""What a method looks like, in upper case."""
REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
"""Methods that are no requests to a resource."""
_USUAL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_KNOWN_METHODS = frozenset(
    re.findall(
        r"\S+",
        """
        GET HEAD POST PUT PATCH DELETE OPTIONS
        BIND CHECKIN CHECKOUT COPY LABEL LINK LIST LOCK MERGE MKCALENDAR MKCOL MOVE NOTIFY PROPFIND PROPPATCH
        PURGE QUERY REBIND REPORT SEARCH SUBSCRIBE UNBIND UNCHECKOUT UNLINK UNLOCK UNSUBSCRIBE UPDATE
        """,
    )
)
"""Those of the standard's registry that carry a meaning for a server of today, and a few that are widely used."""
_SCHEMES = ("http://", "https://")


class Mode(StrEnum):
    """Who ends the run after a 2xx."""

    AUTO = "auto"
    """Synchronous where the route has a ``url`` of its own, else as the message says."""
    SYNC = "sync"
    """The agent: a 2xx is SUCCESS."""
    ASYNC = "async"
    """The other side: a 2xx leaves the run to it."""
    MESSAGE = "message"
    """As the message says, whose ever the ``url``."""


class BodyFormat(StrEnum):
    """What becomes of a body on its way."""

    AUTO = "auto"
    """What the Content-Type says: text as it is, an object as a form; JSON where it says neither."""
    JSON = "json"
    """JSON, whatever the Content-Type says."""


def _text(description: str) -> JsonObject:
    return {"description": description, "type": "string", "minLength": 1}


def _flag(description: str) -> JsonObject:
    return {"description": description, "type": "boolean"}


_RETRY_SCHEMA: JsonObject = {
    "description": "Whether a request is sent once more. What certainly never reached the server is, twice by "
    "default; anything else only with methods that may be repeated (GET, HEAD, OPTIONS, PUT, DELETE).",
    "anyOf": [
        {"description": "How often it is repeated at most.", "type": "integer", "minimum": 0, "maximum": 20},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "attempts": {
                    "description": f"How often it is sent at most, the first included; default {DEFAULT_ATTEMPTS}.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 21,
                },
                "statuses": {
                    "description": f"Answers to repeat after; default {sorted(DEFAULT_STATUSES)}.",
                    "type": "array",
                    "items": {"type": "integer", "minimum": 400, "maximum": 599},
                },
                "unsafe": _flag("Repeat POST and PATCH, too: the server must bear to get the same request twice."),
            },
        },
    ],
}

HTTP_SCHEMA: JsonObject = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "method": _text("The method, a template; by default the invocation's, else POST."),
        "url": _text(
            "Where to, a template; by default the invocation's url. What expressions put inside of it is "
            "percent-encoded, but for one that begins it and for env.NAME."
        ),
        "headers": {
            "description": "Headers, each a template (or all of them one expression that gives an object); null "
            "leaves one out. By default those of the action, if the url is the invocation's.",
            "type": ["object", "string"],
        },
        "query": {
            "description": "Parameters that are added to the url, each a template; a list repeats its name, null "
            "leaves it out.",
            "type": ["object", "string"],
        },
        "body": {
            "description": "What is sent, a template: as JSON; text as it is and objects as a form where the "
            "Content-Type says so; null sends nothing. By default the message itself, but nothing where the route "
            "sets GET or HEAD."
        },
        "body_format": {
            "description": "auto (default): as the Content-Type says, see body; json: always JSON.",
            "enum": [str(form) for form in BodyFormat],
        },
        "timeout": duration_schema(
            "The longest that the server may take to answer; default: WEBHOOK_INVOKER_TIMEOUT."
        ),
        "connect_timeout": duration_schema("The longest that connecting may take; default 10 s."),
        "retry": _RETRY_SCHEMA,
        "mode": {
            "description": "sync: 2xx ends the run as SUCCESS; async: 2xx leaves it to the other side to end; auto "
            "(default): sync where the route has a url of its own, else as the message says; message: always as "
            "the message says.",
            "enum": [str(mode) for mode in Mode],
        },
        "verify_ssl": _flag("Whether the server's certificate must be valid."),
        "ca_file": _text("A PEM file with further CAs to trust."),
        "client_cert": _text("A PEM file with the certificate to present, and its key unless client_key is set."),
        "client_key": _text("A PEM file with the key of client_cert."),
        "max_response_bytes": {
            "description": "How much of the answer is read; default 1 MiB.",
            "type": "integer",
            "minimum": 0,
            "maximum": 64 * 1024 * 1024,
        },
        "sign": _flag("Whether the request carries X-Port-Signature and X-Port-Timestamp; default true."),
        "allow_link_local": _flag("Whether link-local and cloud metadata addresses may be called."),
        "follow_redirects": _flag(
            "Whether redirects are followed, as browsers do: with a GET after 302 and 303, and for POST after 301. "
            "A 3xx that asks for no other request then counts as 2xx. Default false."
        ),
        "idempotency_key": {
            "description": "The Idempotency-Key header, the same for every repetition: a template; true (default) "
            "is the run's id, false sends none.",
            "type": ["string", "boolean"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """A route's options that hold for all its runs. Times in seconds."""

    timeout_s: float
    connect_timeout_s: float
    retry: RetryRule
    mode: Mode
    has_own_url: bool
    max_response_bytes: int
    quotes_answers: bool
    follows_redirects: bool
    client: ClientOptions

    @property
    def timeouts(self) -> Timeouts:
        """Of each request."""
        return Timeouts(self.connect_timeout_s, self.timeout_s, self.timeout_s)

    def is_synchronous(self, *, invocation_is: bool) -> bool:
        """Whether a 2xx ends the run, for an invocation that says so or not."""
        if self.mode is Mode.AUTO:
            return self.has_own_url or invocation_is
        return invocation_is if self.mode is Mode.MESSAGE else self.mode is Mode.SYNC


def read_http_options(options: JsonObject, settings: ExecutorSettings, backoff: Backoff) -> HttpOptions:
    """Reads options that fit `HTTP_SCHEMA`; what a route leaves out is the operator's setting."""
    timeout_s = _seconds(options.get("timeout"), settings.http_timeout_s)
    connect_s = _seconds(options.get("connect_timeout"), _DEFAULT_CONNECT_TIMEOUT_S)
    limit = options.get("max_response_bytes")
    return HttpOptions(
        timeout_s=timeout_s,
        connect_timeout_s=connect_s,
        retry=_retry(options.get("retry"), backoff),
        mode=Mode(str(options.get("mode", Mode.AUTO))),
        has_own_url="url" in options,
        max_response_bytes=limit if isinstance(limit, int) else DEFAULT_MAX_RESPONSE_BYTES,
        quotes_answers=settings.http_quotes_answers,
        follows_redirects=options.get("follow_redirects") is True,
        client=ClientOptions(
            verify=bool(options.get("verify_ssl", settings.http_verify_ssl)),
            ca_file=_path(options.get("ca_file")) or settings.http_ca_file,
            client_cert=_path(options.get("client_cert")),
            client_key=_path(options.get("client_key")),
            allow_link_local=bool(options.get("allow_link_local", settings.http_allow_link_local)),
        ),
    )


def fixed_problems(options: JsonObject, path: str, templates: TemplateCompiler) -> Iterator[Problem]:
    """What no message can mend: a method that nobody knows, a url that cannot be called."""
    method, url = options.get("method"), options.get("url")
    if isinstance(method, str) and templates.beginning(method) == (method, True):
        word = method.strip().upper()
        if word in REFUSED_METHODS:
            yield Problem("routes", f"{word} cannot be sent", f"{path}.method")
        elif word not in _KNOWN_METHODS:
            close = get_close_matches(word, _USUAL_METHODS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(_USUAL_METHODS)} and WebDAV's"
            yield Problem("routes", f"there is no HTTP method {method!r}", f"{path}.method", hint)
    if isinstance(url, str):
        yield from _url_problems(url, f"{path}.url", templates)


def _url_problems(url: str, path: str, templates: TemplateCompiler) -> Iterator[Problem]:
    beginning, is_fixed = templates.beginning(url)
    beginning = beginning.strip().lower()
    if not is_fixed:
        if not any(beginning.startswith(scheme) or scheme.startswith(beginning) for scheme in _SCHEMES):
            yield Problem("routes", "the url must begin with http:// or https:// and name a host", path)
        return
    try:
        parsed(put_together(url))
    except UnsendableError as error:
        yield Problem("routes", str(error), path)


def _seconds(value: Json, default_s: float) -> float:
    return parse_duration_s(value) if isinstance(value, str | int | float) else default_s


def _path(value: Json) -> Path | None:
    return Path(value) if isinstance(value, str) else None


def _retry(value: Json, backoff: Backoff) -> RetryRule:
    if isinstance(value, int):
        return RetryRule(attempts=value + 1, asked_for=True, backoff=backoff)
    parts = as_object(value)
    attempts, statuses = parts.get("attempts"), parts.get("statuses")
    return RetryRule(
        attempts=attempts if isinstance(attempts, int) else DEFAULT_ATTEMPTS,
        statuses=frozenset(s for s in statuses if isinstance(s, int))
        if isinstance(statuses, list)
        else DEFAULT_STATUSES,
        unsafe=parts.get("unsafe") is True,
        asked_for="attempts" in parts,
        backoff=backoff,
    )
