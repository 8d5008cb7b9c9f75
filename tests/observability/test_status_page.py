"""The status page: what it shows, that it stays bounded, and that nothing in it can become markup."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from html.parser import HTMLParser

import pytest

from agent.domain import events as ev
from agent.domain.invocation import RunId, View
from agent.domain.route import Match, Route
from agent.observability.html import Markup, joined, tag
from agent.observability.phrases import about, duration, matches, number, plural
from agent.observability.status_board import MAX_RECENT, MAX_TROUBLES, StatusBoard
from agent.observability.status_page import StatusPage
from agent.ports import Health
from tests.observability.helpers import ONE_OF_EACH, RUN, HeldClock, route

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\ud800"


class Reader(HTMLParser):
    """Collects a page's elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]


class Always:
    """A condition that holds."""

    def render(self, _view: View) -> bool:
        return True


def board(
    clock: HeldClock | None = None, routes: tuple[Route, ...] = (), health: Health | None = None, **facts: str
) -> StatusBoard:
    return StatusBoard(
        clock=clock or HeldClock(),
        version="1.2.3",
        about=facts,
        max_concurrent_runs=50,
        routes=lambda: routes,
        ready=lambda: health or Health(ok=True),
    )


def told(a_board: StatusBoard, *events: ev.Event) -> StatusBoard:
    for event in events:
        a_board.notify(event)
    return a_board


def read(a_board: StatusBoard) -> Reader:
    return Reader(StatusPage(a_board).page("").body.decode())


def finished(run_id: str, status: str = "success", detail: str = "", reason: str = "") -> ev.RunFinished:
    return ev.RunFinished("process", "create", RunId(run_id), status, reason, detail, 1.5)


def test_a_fresh_agent_has_a_page() -> None:
    page = read(board(health=Health(ok=False, reason="waiting to join the consumer group"), organisation="org_1"))

    assert "Not ready: waiting to join the consumer group" in page.text
    assert "version 1.2.3" in page.text
    assert "organisation org_1" in page.text
    assert "None since the start." in page.text
    assert "Troubles" not in page.text
    assert page.open == []


def test_it_shows_runs_in_flight_and_how_they_ended() -> None:
    clock = HeldClock()
    a_board = told(
        board(clock),
        ev.RunStarted("process", "create", RUN, "create_service", 0.1),
        ev.RunStarted("http", "restart", RunId("r_2"), "restart_service", 0.1),
    )
    clock.pass_s(75)
    assert "r_abc123 create create_service process 1 min 15 s" in read(a_board).text

    told(
        a_board,
        ev.RunFinished(
            "process",
            "create",
            RUN,
            "failure",
            "exit_code",
            "exit code 3: no such repository",
            75.0,
            "create_service",
        ),
        ev.RunReported("create", RUN, "delivered"),
    )
    clock.pass_s(5)

    page = read(a_board)
    assert "failure r_abc123 create create_service exit code 3: no such repository 1 min 15 s 5 s ago" in page.text
    assert [run.run_id for run in a_board.status().in_flight] == ["r_2"]


def test_a_report_that_port_does_not_have_is_seen() -> None:
    a_board = told(board(), finished("r_1"), finished("r_2"), finished("r_3"))
    told(
        a_board,
        ev.RunReported("create", RunId("r_1"), "undelivered", "no answer for 20 s"),
        ev.RunReported("create", RunId("r_2"), "delivered"),
    )

    reports = {run.run_id: run.report for run in a_board.status().recent}
    assert reports == {"r_1": "undelivered", "r_2": "delivered", "r_3": "pending"}
    page = read(a_board)
    assert "Port has not been told" in page.text
    assert "telling Port …" in page.text
    assert "report undelivered r_1: no answer for 20 s" in page.text


def test_it_keeps_the_last_hundred_runs_the_latest_first() -> None:
    a_board = told(board(), *(finished(f"r_{number}") for number in range(250)))

    recent = a_board.status().recent
    assert [run.run_id for run in recent] == [f"r_{number}" for number in range(249, 249 - MAX_RECENT, -1)]
    assert a_board.status().totals["success"] == 250


def test_it_shows_partitions_with_their_lag() -> None:
    clock = HeldClock()
    a_board = told(
        board(clock),
        ev.Rebalanced("assigned", (("org.runs", 0), ("org.runs", 1), ("org.runs", 2))),
        ev.PartitionStatus("org.runs", 0, 12_345, 3, 2, 60.0, paused=True),
        ev.PartitionStatus("org.runs", 1, None, 0, 0, None, paused=False),
        ev.Rebalanced("revoked", (("org.runs", 2),)),
    )
    clock.pass_s(60)

    page = read(a_board)
    assert "org.runs #0 lag 12 345 3 open, 2 min, paused #1 lag — 0 open" in page.text
    assert "Lag 12 345 2 partitions" in page.text


def test_it_shows_the_routes_in_force_as_they_are_now() -> None:
    routes = (
        Route("create", Match(("create_*",), ("service", "api")), "process", timeout_s=600, max_concurrent=4),
    )

    page = read(board(routes=routes))

    assert "create action create_*, blueprint service or api process 10 min up to 4" in page.text


def test_troubles_count_up_and_a_good_reload_ends_its_own() -> None:
    failing = (ev.SourceFailed("_TRANSPORT", "b-1 gone"), ev.SourceFailed("_TRANSPORT", "b-2 gone"))
    a_board = told(board(), *failing, ev.RoutesReloaded(ok=False, routes=1, problems=("a:1: bad", "a:2: bad")))

    texts = [(trouble.text, trouble.times) for trouble in a_board.status().troubles]
    assert texts == [
        ("routes reload refused; the routes read before stay in force", 1),
        ("source failed: _TRANSPORT", 2),
    ]
    assert "source failed: _TRANSPORT 2 times b-2 gone" in read(a_board).text
    told(a_board, ev.RoutesReloaded(ok=True, routes=1))
    assert [trouble.text for trouble in a_board.status().troubles] == ["source failed: _TRANSPORT"]


def test_an_outage_of_port_is_seen_while_it_lasts_and_afterwards() -> None:
    clock = HeldClock()
    refused = "PATCH https://api/v1/actions/runs/{run_id}: HTTP 503: no"
    failing = (
        ev.ApiRequested("/v1/actions/runs/{run_id}", "PATCH", "503", 0.1),
        ev.ApiRetried("/v1/actions/runs/{run_id}", "status_503", refused),
    )
    a_board = told(board(clock), *failing)
    clock.pass_s(192)
    page = read(told(a_board, *failing))
    assert f"Port's API does not answer; reports are kept and sent until it does 2 times {refused}" in page.text
    assert "no answer for 3 min" in page.text

    told(a_board, ev.ApiRequested("/v1/actions/runs/{run_id}", "PATCH", "200", 0.1))

    page = read(a_board)
    assert "Port's API does not answer" not in page.text
    assert "Port's API was away for 3 min 12 s; 2 requests failed" in page.text
    assert "no answer for" not in page.text


def test_an_outage_of_port_is_not_shown_for_ever_where_nobody_asks_any_more() -> None:
    clock = HeldClock()
    failed = ev.ApiRequested("/v1/organization", "GET", "timeout", 60.0)
    a_board = told(board(clock), failed, ev.ApiRetried("/v1/organization", "timeout", "no answer in time"))
    assert "Port's API does not answer" in read(a_board).text
    clock.pass_s(3600)
    page = read(a_board)
    assert "Port's API does not answer" not in page.text
    assert "no answer for" not in page.text
    assert "1 request" in page.text


def test_a_single_request_that_failed_is_no_trouble_once_the_next_one_is_answered() -> None:
    failed, answered = (ev.ApiRequested("/v1/organization", "GET", code, 0.1) for code in ("503", "200"))
    a_board = told(board(), failed, ev.ApiRetried("/v1/organization", "status_503", "503"), answered)
    assert a_board.status().troubles == ()


def test_draining_is_shown_above_all() -> None:
    page = read(told(board(health=Health(ok=False, reason="draining")), ev.DrainStarted(3, 0, 30)))

    assert "action-agent Draining" in page.text


def test_what_it_keeps_and_shows_is_bounded() -> None:
    a_board = board()
    for turn in range(300):
        detail = f"{turn} " + "x" * 1_000_000
        told(a_board, finished(f"r_{turn}", "failure", detail), ev.SourceFailed(f"code-{turn}", detail))

    assert len(a_board.status().troubles) == MAX_TROUBLES
    assert len(StatusPage(a_board).page("").body) < 1_000_000


def test_long_text_opens_on_a_click_and_short_text_stands_there() -> None:
    page = read(told(board(), finished("r_1", detail="short"), finished("r_2", detail="first line\nsecond")))

    assert [attributes["id"] for attributes in page.named("details")] == ["why-r_2"]
    assert "first line … first line second" in page.text


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_the_page_stands_whatever_fact_comes(event: ev.Event) -> None:
    assert read(told(board(), event)).open == []


def test_nothing_can_become_markup() -> None:
    evil = RunId(EVIL)
    a_board = told(
        board(
            routes=(Route(EVIL, Match((EVIL,), (EVIL,), (EVIL,), (EVIL,)), EVIL, where=EVIL),),
            health=Health(ok=False, reason=EVIL),
            organisation=EVIL,
        ),
        ev.Rebalanced("assigned", ((EVIL, 0),)),
        ev.PartitionStatus(EVIL, 0, 1, 1, 1, 1.0, paused=True),
        ev.RunStarted(EVIL, EVIL, evil, EVIL, 0),
        ev.RunStarted(EVIL, EVIL, RunId(EVIL + "2"), EVIL, 0),
        ev.RunFinished(EVIL, EVIL, evil, EVIL, EVIL, EVIL + "\n" + EVIL, 1, EVIL),
        ev.RunReported(EVIL, evil, "undelivered", EVIL),
        ev.MessageRejected("kafka", EVIL, EVIL, evil),
        ev.SourceFailed(EVIL, EVIL),
        ev.RoutesReloaded(ok=False, routes=1, problems=(EVIL,)),
    )

    page, plain = read(a_board), read(board())

    assert page.open == []
    assert len(page.named("script")) == len(plain.named("script")) == 1
    assert page.named("img") == []
    handlers = [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert handlers == []
    assert page.text.count("<script>alert(1)</script>") > 15


def test_style_and_script_are_allowed_by_hash_and_nothing_else() -> None:
    answer = StatusPage(board()).page("")
    page = answer.body.decode()
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))

    for element in ("style", "script"):
        (source,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert not re.search(r'(src|href)="(?!/|data:)', page)
    assert ' style="' not in page


def test_facts_may_come_from_another_thread_while_the_page_is_made() -> None:
    a_board = board(routes=(route("create"),))

    def work() -> None:
        for turn in range(1500):
            told(
                a_board,
                ev.RunStarted("process", "create", RunId(f"r_{turn}"), None, 0),
                finished(f"r_{turn}"),
                ev.RunReported("create", RunId(f"r_{turn}"), "delivered"),
                ev.SourceFailed(f"code-{turn % 40}", ""),
            )

    worker = threading.Thread(target=work)
    worker.start()
    pages = 0
    while worker.is_alive() or pages == 0:
        assert Reader(StatusPage(a_board).render(a_board.status())).open == []
        pages += 1
    worker.join()

    assert a_board.status().totals["success"] == 1500
    assert {run.report for run in a_board.status().recent} == {"delivered"}


def test_markup_is_only_what_was_made_as_such() -> None:
    assert tag("p", "a<b", Markup("<br>"), None, 3, class_='x"y', data_label="<", id=None) == (
        '<p class="x&quot;y" data-label="&lt;">a&lt;b<br>3</p>'
    )
    assert joined("&", Markup("&amp;"), "\ud800") == "&amp;&amp;?"


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (0, "0 ms", "0 s"),
        (0.34, "340 ms", "0 s"),
        (1, "1 s", "1 s"),
        (59.94, "59.9 s", "59 s"),
        (60, "1 min", "1 min"),
        (192, "3 min 12 s", "3 min"),
        (3600, "1 h", "1 h"),
        (86_399, "23 h 59 min", "23 h"),
        (90_000, "1 d 1 h", "1 d"),
        (172_800, "2 d", "2 d"),
    ],
)
def test_lengths_of_time(seconds: float, long: str, short: str) -> None:
    assert (duration(seconds), about(seconds)) == (long, short)


def test_phrases() -> None:
    assert number(1_234_567) == "1\u202f234\u202f567"
    assert (plural(1, "report"), plural(2, "report"), plural(0, "report")) == ("1 report", "2 reports", "0 reports")
    assert matches(Match()) == "every message"
    assert matches(Match(types=("KAFKA",), kinds=("node_run",))) == "type KAFKA, kind node_run"
    assert matches(Match(actions=("a",), when=Always())) == "action a, a condition"
