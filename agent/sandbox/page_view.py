"""The page's HTML: the forms of all actions, and empty places that the script fills with live runs."""

from __future__ import annotations

from collections.abc import Sequence

from agent.observability.html import Content, Markup, joined, tag
from agent.sandbox.actions import OWN_SHAPES, Input, SandboxAction, Shape
from agent.sandbox.routes_file import RoutesFile

_ABOUT = (
    "An agent with {} routes, an embedded Kafka broker and a stand-in for Port's API, all on this machine. "
    "Start an action and watch its run as Port would show it."
)
_COPY = "a copy that Ctrl-C deletes, with every edit; action-agent sandbox --routes FILE keeps yours"
_OWN_FILE = "edit it: the agent takes changes within two seconds"


def page(actions: Sequence[SandboxAction], *, agent_url: str, routes: RoutesFile) -> str:
    """The whole document. Everything that is not ours to write comes out escaped."""
    head = joined(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", "Sandbox · action agent"),
        Markup(
            '<link rel="stylesheet" href="/static/status.css"><link rel="stylesheet" href="/static/sandbox.css">'
        ),
        tag("script", src="/static/sandbox.js", defer=""),
    )
    body = joined(
        _header(agent_url, routes),
        _refused_routes(),
        tag("main", _sidebar(actions), tag("div", _runs(), _run(), class_="stage")),
    )
    return "<!doctype html>" + tag("html", tag("head", head), tag("body", body), lang="en")


def _header(agent_url: str, routes: RoutesFile) -> Markup:
    note = _COPY if routes.is_copy else _OWN_FILE
    facts = (
        ("agent", tag("a", "status page", href=agent_url, target="_blank", rel="noopener")),
        ("metrics", tag("a", "/metrics", href=f"{agent_url}/metrics", target="_blank", rel="noopener")),
        ("routes", joined(tag("span", str(routes.path), class_="mono"), tag("span", note, class_="faint note"))),
    )
    shown = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts)
    return tag(
        "header",
        tag("h1", "Sandbox"),
        tag("span", "connecting", id="connection", class_="badge"),
        tag("p", _ABOUT.format("example" if routes.is_copy else "your"), class_="soft intro"),
        tag("dl", *shown, class_="about"),
    )


def _refused_routes() -> Markup:
    return tag(
        "section",
        tag("h2", "The changed routes file is not in order; the routes read before stay in force"),
        tag("pre", id="routes-problems"),
        class_="banner",
        id="routes-refused",
        role="alert",
        hidden="",
    )


def _sidebar(actions: Sequence[SandboxAction]) -> Markup:
    start_all = tag("button", "Start all", type="button", id="start-all", class_="quiet") if actions else None
    return tag(
        "section",
        tag("h2", "Actions", start_all),
        *(_card(action, is_open=index == 0) for index, action in enumerate(actions)),
        _own_card(is_open=not actions),
        class_="panel actions",
    )


def _card(action: SandboxAction, *, is_open: bool) -> Markup:
    form = tag(
        "form",
        *map(_field, action.inputs),
        tag("button", "Start", type="submit"),
        tag("output", class_="problem"),
        data_action=action.identifier,
    )
    return _fold(action.title, action.executor, action.about, form, is_open=is_open, shape=action.shape)


def _own_card(*, is_open: bool) -> Markup:
    """The form that the script fills with what the routes file suggests."""
    shapes = tag(
        "select", *(tag("option", shape, data_about=about) for shape, about in OWN_SHAPES.items()), name_="shape"
    )
    action = tag(
        "input",
        name_="action",
        required="",
        value="my_action",
        list="own-actions",
        autocomplete="off",
        spellcheck="false",
    )
    form = tag(
        "form",
        _labelled("Action", action, "as the route's match names it"),
        tag("datalist", id="own-actions"),
        _labelled("Blueprint", tag("input", name_="blueprint", value="service", autocomplete="off")),
        _labelled(
            "Entity", tag("input", name_="entity", autocomplete="off"), "identifier, for day-2 and delete actions"
        ),
        _labelled("Inputs", tag("textarea", "{}", name_="inputs", rows="4", spellcheck="false"), "JSON"),
        _labelled("Message", shapes),
        tag("p", next(iter(OWN_SHAPES.values())), id="shape-about", class_="hint"),
        tag("button", "Start", type="submit"),
        tag("output", class_="problem"),
        id="own-action",
    )
    about = "Invokes whatever your routes match. What is filled in comes from the routes file; change it."
    return _fold("An action of your own", "any", about, form, is_open=is_open, shape=None)


def _fold(title: str, executor: str, about: str, form: Markup, *, is_open: bool, shape: Shape | None) -> Markup:
    name = tag("span", title, class_="title")
    badges: list[Content] = [tag("span", executor, class_="badge") if executor != "-" else None]
    way = tag("p", about, tag("span", f" Sent as: {shape}.", class_="faint") if shape else None, class_="soft")
    return tag("details", tag("summary", name, *badges), way, form, name_="actions", open="" if is_open else None)


def _field(field: Input) -> Markup:
    if field.choices:
        return _labelled(
            field.title, tag("select", *(tag("option", one) for one in field.choices), name_=field.name)
        )
    kind = {"number": "number", "secret": "password"}.get(field.kind, "text")
    step = "any" if kind == "number" else None
    control = tag(
        "input", name_=field.name, type=kind, step=step, value=str(field.default), required="", autocomplete="off"
    )
    return _labelled(field.title, control, "encrypted in the message" if field.kind == "secret" else None)


def _labelled(title: str, control: Markup, note: str | None = None) -> Markup:
    shown = tag("span", tag("b", title), tag("em", note) if note else None)
    return tag("label", shown, control)


def _runs() -> Markup:
    columns = ("Run", "Action", "Executor", "Status", "Time", "Log lines", "API requests")
    head = tag("tr", *(tag("th", name, class_="num" if index > 3 else None) for index, name in enumerate(columns)))
    return tag(
        "section",
        tag("h2", "Runs", tag("span", class_="count", id="run-count")),
        tag("div", tag("table", tag("thead", head), tag("tbody", id="runs")), class_="scroll"),
        tag("p", "No run yet: start an action on the left.", class_="empty", id="no-runs"),
        class_="panel runs",
    )


def _run() -> Markup:
    return tag(
        "section",
        tag(
            "h2",
            tag("span", id="run-title"),
            tag("span", id="run-status", class_="badge"),
            tag("span", id="run-label"),
        ),
        tag("p", id="run-summary", class_="summary"),
        tag("dl", id="run-facts", class_="facts"),
        tag("h3", "Log"),
        tag("pre", id="run-log", tabindex="0"),
        _message(),
        class_="panel run",
        id="run",
        hidden="",
    )


def _message() -> Markup:
    return tag(
        "details",
        tag("summary", tag("span", "The message that began it", class_="title")),
        tag(
            "p",
            tag("button", "Copy", type="button", id="copy-message", class_="quiet"),
            tag("a", "Download message.json", id="download-message", download="message.json"),
            tag("span", "for action-agent explain", class_="faint"),
            class_="tools",
        ),
        tag("pre", id="run-message", tabindex="0"),
        class_="message",
        id="message",
    )
