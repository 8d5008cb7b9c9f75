"""What is sent: a route's templates, rendered and checked, down to the bytes of the body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import View
from agent.domain.javascript import stringify
from agent.domain.json import Json, JsonObject, as_object, as_text
from agent.domain.route import Template
from agent.executors.http_options import METHOD, REFUSED_METHODS, BodyFormat, fixed_problems
from agent.executors.http_url import UnsendableError, encoded, parsed, put_together
from agent.net.headers import CONNECTION_HEADERS, header_problem
from agent.net.shown import shown_place, shown_url
from agent.ports import TemplateCompiler

_TEMPLATES = ("method", "url", "headers", "query", "body", "idempotency_key")
_NAMES = frozenset({"url", "idempotency_key"})
"""They say what is acted on: there a null inside of text fails."""

_BODYLESS_METHODS = frozenset({"GET", "HEAD"})
_SHOWN_CHARS = 40
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, ready but for its signature. ``content`` ``None``: no body; ``body``, ``query``: as rendered."""

    method: str
    url: httpx.URL
    headers: tuple[tuple[str, str], ...]
    content: bytes | None
    query: JsonObject
    body: Json
    written_url: str

    @property
    def place(self) -> str:
        """``host:port``."""
        return shown_place(self.url)

    @property
    def title(self) -> str:
        """``POST https://host/path``, without credentials and query."""
        return f"{self.method} {shown_url(self.url)}"

    def as_json(self) -> JsonObject:
        """``.request`` of report templates, and the preview."""
        return {
            "method": self.method,
            "url": self.written_url,
            "headers": dict(self.headers),
            "query": self.query,
            "body": self.body,
        }


class RequestTemplate:
    """Renders requests. Raises `ConfigurationError` with every template and header name that is wrong.

    What the options leave out comes from the invocation: url, method, headers, and as body the message itself.
    """

    def __init__(self, options: JsonObject, path: str, templates: TemplateCompiler) -> None:
        key = options.get("idempotency_key", True)
        self._sends_run_id = key is True
        self._body_format = BodyFormat(str(options.get("body_format", BodyFormat.AUTO)))
        problems = [
            *_header_name_problems(options.get("headers"), f"{path}.headers", templates),
            *fixed_problems(options, path, templates),
        ]
        compiled: dict[str, Template] = {}
        for name in _TEMPLATES:
            if name not in options or (name == "idempotency_key" and isinstance(key, bool)):
                continue
            try:
                encode = encoded if name == "url" else None
                compiled[name] = templates.template(
                    options[name], f"{path}.{name}", encode=encode, is_name=name in _NAMES
                )
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(*problems)
        self._method, self._url, self._headers, self._query, self._body, self._key = map(compiled.get, _TEMPLATES)

    def render(self, view: View) -> HttpRequest:
        """The request for one message. Raises `TemplateError`, `UnsendableError`."""
        invoked = as_object(as_object(view.value.get("action")).get("invocationMethod"))
        method = self._render_method(view, invoked)
        written = self._render_url(view, invoked)
        query = self._render_object(self._query, view, "query")
        headers = dict(
            {name.lower(): (name, value) for name, value in self._render_headers(view, invoked)}.values()
        )
        body = self._body.render(view) if self._body else view.value.get("message")
        # A message that its action wants as GET has always carried its body; a route that says GET means GET.
        has_body = body is not None and (
            self._body is not None or self._method is None or method not in _BODYLESS_METHODS
        )
        content = _content(body, headers, self._body_format) if has_body else None
        return HttpRequest(
            method=method,
            url=parsed(_with_query(written, query)),
            headers=tuple(headers.items()),
            content=content,
            query=query,
            body=body if has_body else None,
            written_url=written,
        )

    def _render_method(self, view: View, invoked: JsonObject) -> str:
        value = self._method.render(view) if self._method else invoked.get("method") or "POST"
        method = value.strip().upper() if isinstance(value, str) else ""
        if not METHOD.fullmatch(method) or method in REFUSED_METHODS:
            raise UnsendableError(f"{_shown(value)} is no method that can be sent; it must be like POST or GET")
        return method

    def _render_url(self, view: View, invoked: JsonObject) -> str:
        value = self._url.render(view) if self._url else invoked.get("url")
        if isinstance(value, str) and value.strip():
            return put_together(value) if self._url is not None else value.strip()
        if self._url is not None:
            raise UnsendableError(f"the route's url came out as {_shown(value)} for this message")
        raise UnsendableError(
            "the message names no url to call, and the route sets none: give it one under http.url"
        )

    def _render_headers(self, view: View, invoked: JsonObject) -> Iterator[tuple[str, str]]:
        if self._headers is not None:
            given = self._render_object(self._headers, view, "headers")
        else:
            # The action's own headers are meant for the action's own url, and may hold credentials for it.
            given = {} if self._url else _action_headers(view, invoked)
        names = set()
        for name, value in given.items():
            if value is None:
                continue
            problem = _name_problem(name) or header_problem(name, as_text(value))
            if problem is not None:
                raise UnsendableError(problem)
            names.add(name.lower())
            yield name, as_text(value)
        key = self._idempotency_key(view)
        if key and "idempotency-key" not in names:
            yield "Idempotency-Key", key

    def _idempotency_key(self, view: View) -> str | None:
        if self._key is not None:
            value = self._key.render(view)
        else:
            value = as_object(view.value.get("run")).get("id") if self._sends_run_id else None
        key = None if value is None else as_text(value)
        problem = header_problem("Idempotency-Key", key) if key else None
        if problem is not None:
            raise UnsendableError(problem)
        return key

    def _render_object(self, template: Template | None, view: View, name: str) -> JsonObject:
        value = template.render(view) if template else {}
        if not isinstance(value, Mapping):
            raise UnsendableError(f"the route's {name} came out as {_shown(value)}, not as an object")
        return value


def _shown(value: Json) -> str:
    """A short value; of a long one no part, for half a secret could not be masked."""
    text = as_text(value)
    return repr(text) if len(text) <= _SHOWN_CHARS else f"a value of {len(text)} characters"


def _header_name_problems(headers: Json, path: str, templates: TemplateCompiler) -> list[Problem]:
    names = [name for name in as_object(headers) if templates.beginning(name)[1]]
    reasons = {name: header_name_problem(name) for name in names}
    return [Problem("routes", reason, f"{path}.{name}") for name, reason in reasons.items() if reason]


def header_name_problem(name: str) -> str | None:
    """Why no request can have a header of this name; ``None`` if it can."""
    return _name_problem(name) or header_problem(name, "")


def _name_problem(name: str) -> str | None:
    if name.lower() in CONNECTION_HEADERS:
        return f"header {name} cannot be set: it is part of the connection, which the agent makes itself"
    return None


def _action_headers(view: View, invoked: JsonObject) -> JsonObject:
    """The headers that the action's owner set in Port; intake took Port's signature out of the message's."""
    own = as_object(invoked.get("headers"))
    return own or as_object(as_object(view.value.get("message")).get("headers"))


def _with_query(url: str, query: JsonObject) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, as_text(item)) for item in values if item is not None]
    if not pairs:
        return url
    base, hash_mark, fragment = url.partition("#")
    joint = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return base + joint + urlencode(pairs) + hash_mark + fragment


def _content(body: Json, headers: dict[str, str], form: BodyFormat) -> bytes:
    """The bytes of ``body``; sets the Content-Type where ``headers`` have none."""
    name = next((name for name in headers if name.lower() == "content-type"), None)
    if name is None:
        headers["Content-Type"] = "application/json"
    if name is None or form is BodyFormat.JSON:
        return stringify(body, exact=True).encode()
    kind = headers[name].partition(";")[0].strip().lower()
    if kind == _FORM and isinstance(body, Mapping):
        return _with_query("", body).removeprefix("?").encode()
    if isinstance(body, str) and not kind.endswith("json"):
        return body.encode("utf-8", "replace")
    return stringify(body, exact=True).encode()
