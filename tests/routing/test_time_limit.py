"""No expression holds the agent for longer than the limit, and the next one works."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from agent.domain.errors import TemplateError, UnevaluatedError
from agent.domain.invocation import Effort, View
from agent.domain.json import JsonObject
from agent.routing.expressions import Expressions, RouteTemplates

LIMIT_S = 0.2
DOCUMENT: JsonObject = {"n": 1_000_000_000, "s": "a" * 5000 + "b", "deep": [[[[1] * 20] * 20] * 20]}
STOPPED = re.compile(
    r"p: `.*`: (took longer than 0\.2 s(, in which the processor hardly worked on it)?|gave more than 16 MiB"
    r"|ended its worker process \(SIG\w+\), which may use 512 MiB of memory)"
)


@pytest.fixture(scope="module")
def hurried() -> Iterator[RouteTemplates]:
    engine = Expressions({}, limit_s=LIMIT_S)
    yield engine.for_route()
    engine.close()


@pytest.mark.parametrize(
    "source",
    [
        "[repeat(1)]",
        "[range(1e9)]",
        '.n as $n | "x" * $n | length',
        '.n as $n | [limit($n; repeat("x"))] | length',
        "def f: f; f",
        "def f: [f]; f",
        "reduce range(1e12) as $i (0; . + 1)",
        "last(range(1e12))",
        "until(false; .)",
        "[recurse(.)]",
        "label $out | foreach repeat(1) as $i (0; . + $i; empty)",
        '.s | [repeat(gsub("a"; "aa"))]',
        "[range(1e9)] | combinations",
        '[limit(1e9; .s | splits(""; "g"), repeat(1))]',
        (
            '"x" | [.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]'
            "|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|[.,.]|tojson"
        ),
    ],
)
def test_what_does_not_end_is_stopped(hurried: RouteTemplates, source: str) -> None:
    expression = hurried.expression(source, "p")
    begun_s = time.monotonic()
    with pytest.raises(TemplateError) as caught:
        expression.render(View(DOCUMENT))
    assert STOPPED.fullmatch(str(caught.value)), str(caught.value)
    assert time.monotonic() - begun_s < LIMIT_S + 10


@pytest.mark.parametrize(
    "source",
    [
        '.s | test("^(a+)+$")',
        '.s | test("^(a|aa)+$")',
        '.s | [match("(a*)*b?c"; "g")] | length',
        '.s | gsub("(?<x>a*)*$"; "\\(.x)")',
        '.s | gsub(""; "a") | length',
    ],
)
def test_regular_expressions_end_one_way_or_the_other(hurried: RouteTemplates, source: str) -> None:
    expression = hurried.expression(source, "p")
    begun_s = time.monotonic()
    told = ""
    try:
        expression.render(View(DOCUMENT))
    except TemplateError as error:
        told = str(error)
    assert told == "" or STOPPED.fullmatch(told) or told.endswith(": Regex failure"), told
    assert time.monotonic() - begun_s < LIMIT_S + 10


def test_after_a_stop_the_next_evaluation_works() -> None:
    engine = Expressions({}, limit_s=1)
    try:
        templates = engine.for_route()
        with pytest.raises(TemplateError, match="took longer than 1 s"):
            templates.expression("[repeat(1)] | length", "p").render(View(DOCUMENT))
        assert templates.expression("[.deep[0][0][0][]] | length", "p").render(View(DOCUMENT)) == 20
    finally:
        engine.close()


def test_all_expressions_of_one_message_share_the_limit() -> None:
    """As many as there are routes, one after another, would hold the agent for minutes."""
    engine = Expressions({}, limit_s=1)
    try:
        templates = engine.for_route()
        endless = templates.expression("[repeat(1)] | length", "p")
        templates.expression("[.deep[]] | length", "p").render(View(DOCUMENT))  # the worker runs from here on
        view = View(DOCUMENT)
        begun_s = time.monotonic()
        with pytest.raises(TemplateError, match="took longer than 1 s"):
            endless.render(view)
        told = []
        for source in ("[repeat(1)] | length", "[.deep[]]", ".s | length", ".n + .n") * 10:
            with pytest.raises(TemplateError) as caught:
                templates.expression(source, "p").render(view.extended(outputs={}))
            told.append(str(caught.value).partition("`: ")[2])
        assert time.monotonic() - begun_s < 10
        assert set(told) == {"was not evaluated: this message's expressions took longer than 1 s"}
        assert templates.expression(".n", "p").render(view) == 1_000_000_000
    finally:
        engine.close()


def test_a_condition_that_does_not_end_is_told_apart_from_one_that_fails(hurried: RouteTemplates) -> None:
    with pytest.raises(UnevaluatedError):
        hurried.expression("[repeat(1)] | length", "p").render(View(DOCUMENT))
    for source in (".n.x", ".n | keys", "[.n[]]"):
        with pytest.raises(TemplateError) as caught:
            hurried.expression(source, "p").render(View(DOCUMENT))
        assert not isinstance(caught.value, UnevaluatedError)


def test_what_was_spent_before_is_missing_later() -> None:
    engine = Expressions({}, limit_s=20)
    try:
        templates = engine.for_route()
        view = View(DOCUMENT)
        for source in (".s | length", "[.deep[]] | length"):  # one here, one in the worker
            before_s = view.effort.spent_s
            templates.expression(source, "p").render(view)
            assert view.effort.spent_s > before_s
        # As if it had begun anew before: a machine that stood still now would be told with the same words.
        view.effort.spent_s, view.effort.is_renewed = 19.9, True
        told = r"took longer than the 0\.1 s that were left of this message's 20 s"
        with pytest.raises(TemplateError, match=told):
            templates.expression("[repeat(1)] | length", "p").render(view)
    finally:
        engine.close()


def test_waiting_for_the_processor_is_not_counted_where_nothing_is_stopped() -> None:
    engine = Expressions({}, limit_s=1)
    try:
        patience, effort = engine.for_route().worker.patience, Effort()
        with patience.counted_here(effort):
            time.sleep(0.2)  # as a thread that does not get the processor
        assert effort.spent_s < 0.1
    finally:
        engine.close()
