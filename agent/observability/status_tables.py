"""The tables of the status page: troubles, runs, partitions and routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.domain.route import Route
from agent.observability.html import Content, Markup, joined, tag
from agent.observability.in_flight import RunInFlight
from agent.observability.partitions import Standing
from agent.observability.phrases import NOTHING, about, ago, duration, matches, number
from agent.observability.status_board import RecentRun, Status, Trouble

_COLOURS = {"success": "good", "failure": "bad", "cancelled": "warn", "accepted": "info"}
_REPORTS = {
    "undelivered": "Port has not been told",
    "refused": "Port refused the report",
    "pending": "telling Port …",
}
_PREVIEW_CHARS = 160


def troubles(status: Status) -> Markup | None:
    """What an operator should look at; nothing at all where there is nothing."""
    if not status.troubles:
        return None
    rows = (_trouble(trouble, status.now_epoch_s) for trouble in status.troubles)
    table = _table({"What": "long", "Detail": "rest", "Last": "medium"}, rows)
    return _panel("Troubles", len(status.troubles), table, class_="troubles")


def _trouble(trouble: Trouble, now_epoch_s: float) -> Markup:
    times = tag("div", f"{trouble.times} times", class_="under") if trouble.times > 1 else None
    return _row(
        What=joined(trouble.text, times),
        Detail=_long(trouble.detail, None),
        Last=_quiet(ago(trouble.last_epoch_s, now_epoch_s)),
    )


def in_flight(status: Status) -> Markup:
    """The runs being executed, the oldest first."""
    columns = {"Run": "long", "Route": "rest", "Action": "rest", "Executor": "medium", "For": "medium"}
    rows = (_flying(run, status.now_s) for run in status.in_flight)
    content = _table(columns, rows) if status.in_flight else _empty("None.")
    return _panel("Runs in flight", len(status.in_flight), content)


def _flying(run: RunInFlight, now_s: float) -> Markup:
    return _row(
        Run=_clipped(run.run_id or "no id", "mono"),
        Route=_clipped(run.route),
        Action=_clipped(run.action or NOTHING),
        Executor=_quiet(run.executor),
        For=tag("span", duration(now_s - run.since_s), class_="num"),
    )


def recent(status: Status) -> Markup:
    """The runs that ended last, the latest first."""
    columns = {"Status": "short", "Run": "long", "Route": "long", "Why": "rest", "Took": "short", "Ended": "medium"}
    rows = (_ended(run, status.now_epoch_s) for run in status.recent)
    content = _table(columns, rows) if status.recent else _empty("None since the start.")
    return _panel("Last runs", len(status.recent), content)


def _ended(run: RecentRun, now_epoch_s: float) -> Markup:
    untold = _REPORTS.get(run.report)
    why = _long(run.detail or run.reason, f"why-{run.run_id}" if run.run_id else None)
    action = None if run.action in (None, run.route) else tag("div", run.action, class_="under clipped")
    return _row(
        Status=tag("span", run.status, class_=f"badge {_COLOURS.get(run.status, '')}".strip()),
        Run=_clipped(run.run_id or "no id", "mono"),
        Route=joined(_clipped(run.route), action),
        Why=joined(why, tag("div", untold, class_="under") if untold else None),
        Took=tag("span", duration(run.duration_s), class_="num"),
        Ended=_quiet(ago(run.ended_at_epoch_s, now_epoch_s)),
    )


def routes(status: Status) -> Markup:
    """The routes in force, in their order."""
    columns = {"Route": "rest", "For": "rest", "Executor": "medium", "Time limit": "medium", "At once": "medium"}
    content = _table(columns, map(_route, status.routes)) if status.routes else _empty("None.")
    return _panel("Routes in force", len(status.routes), content)


def _route(route: Route) -> Markup:
    where = tag("div", route.where, class_="under") if route.where else None
    return _row(
        Route=joined(_clipped(route.name), where),
        For=_clipped(matches(route.match)),
        Executor=_quiet(route.executor),
        Time_limit=tag("span", duration(route.timeout_s), class_="num"),
        At_once="any number" if route.max_concurrent is None else f"up to {route.max_concurrent}",
    )


def partitions(status: Status) -> Markup:
    """What is assigned to this agent, and how far behind it is."""
    topics = [topic for topic, count in status.assigned.items() if count]
    content = (
        joined(*(_topic(topic, status) for topic in topics)) if topics else _empty("None assigned to this agent.")
    )
    return _panel("Partitions", sum(status.assigned.values()), content)


def _topic(topic: str, status: Status) -> Markup:
    ours = [standing for standing in status.partitions if standing.topic == topic]
    tiles = tag("div", *(_partition(standing, status.now_s) for standing in ours), class_="partitions")
    return tag("div", tag("h3", topic, class_="mono"), tiles, class_="topic")


def _partition(standing: Standing, now_s: float) -> Markup:
    lag = NOTHING if standing.lag is None else number(standing.lag)
    notes = f"{number(standing.uncommitted)} open"
    if standing.oldest_since_s is not None:
        notes += f", {about(now_s - standing.oldest_since_s)}"
    state = joined(", ", tag("span", "paused", class_="warning")) if standing.paused else None
    return tag(
        "div",
        tag("div", tag("span", f"#{standing.index}"), tag("span", f"lag {lag}"), class_="top"),
        tag("div", notes, state, class_="under"),
        class_="partition",
    )


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────


def _panel(title: str, count: int, content: Markup, *, class_: str = "") -> Markup:
    heading = tag("h2", title, tag("span", count, class_="count"))
    return tag("section", heading, content, class_=f"panel {class_}".strip())


def _table(columns: Mapping[str, str], rows: Iterable[Markup]) -> Markup:
    """``columns``: titles, with how wide each is (the style sheet's word)."""
    heads = (tag("th", title, class_=width) for title, width in columns.items())
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))


def _row(**cells: Content) -> Markup:
    """Cells by title, which stands beside each on narrow screens."""
    titled = ((name.replace("_", " "), cell) for name, cell in cells.items())
    return tag("tr", *(tag("td", tag("div", cell), data_label=title) for title, cell in titled))


def _empty(sentence: str) -> Markup:
    return tag("p", sentence, class_="empty")


def _quiet(value: Content) -> Markup:
    return tag("span", value, class_="num soft")


def _clipped(value: str, style: str = "") -> Markup:
    """A name of any length: a few lines of it, and the whole when pointed at."""
    return tag("div", value, class_=f"clipped {style}".strip(), title=value)


def _long(value: str, name: str | None) -> Markup:
    """Text of any length: what does not fit a line or two opens on a click."""
    if not value.strip():
        return Markup()
    first = value.strip().split("\n", 1)[0]
    if first == value.strip() and len(first) <= _PREVIEW_CHARS:
        return tag("div", first)
    preview = first[:_PREVIEW_CHARS].rstrip() + " …"
    return tag("details", tag("summary", preview), tag("pre", value), id=name)
