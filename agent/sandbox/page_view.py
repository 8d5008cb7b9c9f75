"""The page's HTML: the forms of all actions, and empty places that the script fills with live runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agent.observability.html import Content, Markup, joined, tag
from agent.sandbox.actions import Input, SandboxAction, Shape

_ABOUT = (
    "An agent with example routes, an embedded Kafka broker and a stand-in for Port's API, all on this machine. "
    "Start an action and watch its run as Port would show it."
)


def page(actions: Sequence[SandboxAction], *, agent_url: str, routes_path: str) -> str:
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
        _header(agent_url, routes_path), tag("main", _sidebar(actions), tag("div", _runs(), _run(), class_="stage"))
    )
    return "<!doctype html>" + tag("html", tag("head", head), tag("body", body), lang="en")


def _header(agent_url: str, routes_path: str) -> Markup:
    facts = (
        ("agent", tag("a", "status page", href=agent_url, target="_blank", rel="noopener")),
        ("metrics", tag("a", "/metrics", href=f"{agent_url}/metrics", target="_blank", rel="noopener")),
        (
            "routes",
            tag("span", routes_path, class_="mono", title="Edit this file: the agent takes changes at once."),
        ),
    )
    shown = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts)
    return tag(
        "header",
        tag("h1", "Sandbox"),
        tag("span", "connecting", id="connection", class_="badge"),
        tag("p", _ABOUT, class_="soft intro"),
        tag("dl", *shown, class_="about"),
    )


def _sidebar(actions: Sequence[SandboxAction]) -> Markup:
    start_all = tag("button", "Start all", type="button", id="start-all", class_="quiet")
    return tag(
        "section",
        tag("h2", "Actions", start_all),
        *(_card(action, is_open=index == 0) for index, action in enumerate(actions)),
        _own_card(),
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


def _own_card() -> Markup:
    shapes = tag("select", *(tag("option", str(shape)) for shape in Shape), name_="shape")
    example = json.dumps({"name": "billing"})
    form = tag(
        "form",
        _labelled("Action", tag("input", name_="action", required="", value="my_action")),
        _labelled("Blueprint", tag("input", name_="blueprint", value="service")),
        _labelled("Inputs (JSON)", tag("textarea", example, name_="inputs", rows="3", spellcheck="false")),
        _labelled("Message", shapes),
        tag("button", "Start", type="submit"),
        tag("output", class_="problem"),
        id="own-action",
    )
    about = "For a route that you add to the routes file."
    return _fold("An action of your own", "any", about, form, is_open=False, shape=None)


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
    control = tag("input", name_=field.name, type=kind, value=str(field.default), required="", autocomplete="off")
    return _labelled(field.title, control, "encrypted in the message" if field.kind == "secret" else None)


def _labelled(title: str, control: Markup, note: str | None = None) -> Markup:
    shown = tag("span", title, tag("em", note) if note else None)
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
        class_="panel run",
        id="run",
        hidden="",
    )
