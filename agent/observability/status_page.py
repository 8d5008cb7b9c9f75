"""The status page: what the board knows, as one HTML document that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files

from agent.observability.html import Content, Markup, joined, tag
from agent.observability.pacing import Paced
from agent.observability.phrases import NOTHING, about, duration, moment, number, plural
from agent.observability.server import Answer
from agent.observability.status_board import Status, StatusBoard
from agent.observability.status_tables import in_flight, partitions, recent, routes, troubles

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect x='1' y='1' width='14' height='14' rx='4' fill='%233457d5'/%3E%3C/svg%3E"
)


class StatusPage:
    """Renders the board for ``/``. Style and script are allowed by their hashes; nothing else may load or run."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._style = _static("status.css")
        self._script = _static("status.js")
        self._headers = {
            "Content-Security-Policy": "; ".join(
                (
                    "default-src 'none'",
                    f"style-src {_csp_hash(self._style)}",
                    f"script-src {_csp_hash(self._script)}",
                    "img-src data:",
                    "connect-src 'self'",
                    "base-uri 'none'",
                    "form-action 'none'",
                    "frame-ancestors 'none'",
                )
            )
        }
        self._body = Paced(lambda: self.render(self._board.status()).encode())

    def page(self, _accept: str) -> Answer:
        """The page as it is now."""
        return Answer(200, self._body(), "text/html; charset=utf-8", self._headers)

    def render(self, status: Status) -> str:
        """The document for one picture of the agent."""
        head = tag(
            "head",
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<noscript><meta http-equiv="refresh" content="10"></noscript>'),
            Markup(f'<link rel="icon" href="{_ICON}">'),
            tag("title", "action-agent"),
            tag("style", Markup(self._style)),
        )
        live = tag("div", _header(status), _main(status), _footer(status), id="live")
        body = tag("body", live, tag("script", Markup(self._script)))
        return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _static(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text("utf-8")


def _csp_hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _header(status: Status) -> Markup:
    if status.draining:
        state = tag("span", "Draining", class_="badge state warn")
    elif status.ready.ok:
        state = tag("span", "Ready", class_="badge state good")
    else:
        state = tag("span", "Not ready: ", status.ready.reason, class_="badge state bad")
    facts = {"version": status.version, "up": duration(status.uptime_s), **status.about}
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items())
    return tag("header", tag("h1", "action-agent"), state, tag("dl", *pairs, class_="about"))


def _main(status: Status) -> Markup:
    return tag(
        "main",
        tag("div", *_cards(status), class_="cards"),
        troubles(status),
        in_flight(status),
        recent(status),
        partitions(status),
        routes(status),
    )


def _footer(status: Status) -> Markup:
    links = (tag("a", name, href=f"/{name}") for name in ("metrics", "livez", "readyz"))
    return tag(
        "footer",
        tag("span", "As of ", moment(status.now_epoch_s), "; refreshes by itself. "),
        tag("span", "The agent does not answer: this is an old picture.", class_="lost"),
        tag("span", *links, class_="pages"),
    )


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────


def _cards(status: Status) -> Iterable[Markup]:
    totals = status.totals
    waited = None if status.waiting_since_s is None else status.now_s - status.waiting_since_s
    waiting = f"{number(status.waiting)} waiting" + ("" if waited is None else f", {about(waited)}")
    yield _card("In flight", _of(len(status.in_flight), status.max_concurrent_runs), waiting)
    yield _card("Succeeded", number(totals["success"]), f"{number(totals['accepted'])} handed over")
    yield _card("Failed", number(totals["failure"]), f"{number(totals['cancelled'])} cancelled")
    refused = totals["messages_rejected"]
    passed_over = f"{number(totals['messages_ignored'])} passed over, {number(refused)} refused"
    yield _card("Messages of ours", number(totals["received"]), passed_over, alarming=refused > 0)
    lags = [standing.lag for standing in status.partitions if standing.lag is not None]
    partitions_note = plural(sum(status.assigned.values()), "partition")
    yield _card("Lag", number(sum(lags)) if lags else NOTHING, partitions_note)
    note, alarming = _api_note(status)
    yield _card("Port API budget", _of(status.api_remaining, status.api_limit), note, alarming=alarming)


def _api_note(status: Status) -> tuple[str, bool]:
    """And whether it is bad news."""
    if status.api_unanswered_s is not None:
        return f"no answer for {about(status.api_unanswered_s)}", True
    if undelivered := status.totals["undelivered"]:
        return f"{plural(undelivered, 'report')} undelivered", True
    return plural(status.totals["api_requests"], "request"), False


def _of(value: int | None, limit: int | None) -> Markup:
    most = None if value is None or limit is None else tag("small", f" / {number(limit)}")
    return joined(NOTHING if value is None else number(value), most)


def _card(name: str, value: Content, note: str, *, alarming: bool = False) -> Markup:
    return tag(
        "div",
        tag("div", name, class_="name"),
        tag("div", value, class_="value"),
        tag("div", note, class_="note"),
        class_="card alarming" if alarming else "card",
    )
