"""Expressions: what they may see, what they may not, and what they say when they fail."""

from __future__ import annotations

import os

import pytest

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json
from agent.routing.expressions import Expressions, JqExpression, PathExpression, RouteTemplates

VIEW = View({"inputs": {"name": "my-app", "tags": ["a", "b"], "size": 3}, "entity": None})


def evaluate(templates: RouteTemplates, source: str, view: View = VIEW) -> Json:
    return templates.expression(source, "p").render(view)


def problem(templates: RouteTemplates, source: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        templates.expression(source, "p")
    return str(caught.value)


def failure(templates: RouteTemplates, source: str, view: View = VIEW) -> str:
    with pytest.raises(TemplateError) as caught:
        evaluate(templates, source, view)
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (".inputs.name", "my-app"),
        ("{{ .inputs.name }}", "my-app"),
        ('.inputs.tags | join(",")', "a,b"),
        (".inputs.tags[] | ascii_upcase", "A"),
        ("[.inputs.tags[] | ascii_upcase]", ["A", "B"]),
        ("empty", None),
        ('.inputs.tags[] | select(. == "z")', None),
        ('.entity.title // "none"', "none"),
        ("{name: .inputs.name, size: (.inputs.size + 1)}", {"name": "my-app", "size": 4}),
        ("{input: 1, debug: 2} | {input, env: .debug}", {"input": 1, "env": 2}),
        ('reduce .inputs.tags[] as $t (""; . + $t)', "ab"),
        ('if .inputs.size > 2 then "big" else "small" end', "big"),
        ('"\\(.inputs.name)-\\(.inputs.size)" | @uri', "my-app-3"),
    ],
)
def test_the_first_result_counts(templates: RouteTemplates, source: str, expected: Json) -> None:
    assert evaluate(templates, source) == expected


# ── the environment ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "source", ["env.REGION", "$ENV.REGION", 'env["REGION"]', '"\\($ENV.REGION)"', "def f: env; f.REGION"]
)
def test_listed_variables_can_be_read(templates: RouteTemplates, source: str) -> None:
    assert evaluate(templates, source) == "eu-west-1"


@pytest.mark.parametrize("source", ["env", "$ENV", "env | .", "[env, $ENV] | .[1]", "$__env", "{$ENV} | .ENV"])
def test_nothing_else_can_be_seen_even_by_looking_at_all(templates: RouteTemplates, source: str) -> None:
    assert evaluate(templates, source) == {"REGION": "eu-west-1"}


@pytest.mark.parametrize("source", ['env | .["PATH"]', '("PATH") as $n | env[$n]', '$ENV | .["OTHER"]'])
def test_computed_names_of_other_variables_give_null(
    templates: RouteTemplates, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setenv("OTHER", "from the process")
    assert "PATH" in os.environ
    assert evaluate(templates, source) is None


def test_a_listed_variable_that_is_not_set_is_null(templates: RouteTemplates) -> None:
    assert evaluate(templates, "env.UNSET") is None


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("env.OTHER", "p: `env.OTHER` is not visible to this route (list OTHER under the route's `env:`)"),
        ('$ENV["OTHER"]', "p: `env.OTHER` is not visible to this route (list OTHER under the route's `env:`)"),
        (".a + env.REGIO", "p: `env.REGIO` is not visible to this route (did you mean env.REGION?)"),
    ],
)
def test_a_variable_that_is_not_listed_is_told_at_load(templates: RouteTemplates, source: str, told: str) -> None:
    assert problem(templates, source) == told


def test_members_called_env_are_no_variables(templates: RouteTemplates) -> None:
    assert evaluate(templates, ".env.OTHER", View({"env": {"OTHER": 1}})) == 1
    assert evaluate(templates, "{env: .inputs} | .env.size") == 3


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("input", "an expression sees one message only"),
        ("[inputs]", "an expression sees one message only"),
        ("input_line_number", "an expression sees one message only"),
        ('"\\(input)"', "an expression sees one message only"),
        ('import "a" as a; .', "there are no modules"),
        ('include "a"; .', "there are no modules"),
        ('"a" | modulemeta', "there are no modules"),
        ("get_search_list", "there are no modules"),
        ("halt", "an expression cannot stop the agent; use `error` or `empty`"),
        (". | halt_error", "an expression cannot stop the agent; use `error` or `empty`"),
        ("debug", "an expression cannot read or write files"),
        ('debug("x")', "an expression cannot read or write files"),
        (".a | stderr", "an expression cannot read or write files"),
        ("input_filename", "an expression cannot read or write files"),
    ],
)
def test_what_reaches_outside_is_refused(templates: RouteTemplates, source: str, why: str) -> None:
    told = problem(templates, source)
    assert told.partition(" (write ")[0].endswith(f"is not available: {why}")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "p: an expression is empty (write a jq path such as .inputs)"),
        ("  # nothing", "p: an expression is empty (write a jq path such as .inputs)"),
        (".a[", "p: `.a[`: syntax error, unexpected end of file (column 3)"),
        (
            "'x'",
            (
                "p: `'x'`: syntax error, unexpected character (column 1) (text inside an expression needs double "
                "quotes)"
            ),
        ),
        ("tostrin", "p: `tostrin`: tostrin/0 is not defined (column 1) (did you mean tostring?)"),
        ("hello", "p: `hello`: hello/0 is not defined (column 1) (text needs double quotes)"),
        ("join", "p: `join`: join/0 is not defined (column 1) (join takes another number of arguments)"),
        (".a as $x | $y", "p: `.a as $x | $y`: $y is not defined (column 12)"),
        (
            "map(\n.x |\n  foo)",
            ("p: `map( .x | foo)`: foo/0 is not defined (line 3, column 3) (text needs double quotes)"),
        ),
        (
            "@yaml",
            "p: `@yaml` is not a format (jq has @text @json @html @uri @urid @csv @tsv @sh @base64 @base64d)",
        ),
        (
            '"abc',
            (
                'p: `"abc`: syntax error, unexpected end of file, expecting more text or an interpolation or the '
                "closing quote (column 2)"
            ),
        ),
        ("{{ }}", "p: an expression is empty (write a jq path such as .inputs)"),
        (
            "{{ .a }} and {{ .b }}",
            (
                "p: `{{ .a }} and {{ .b }}`: syntax error, unexpected '{' (column 2) (one bare jq expression is "
                "expected here, without {{ }} around its parts)"
            ),
        ),
        ("$__prog_args", "p: `$__prog_args`: $__prog_args is not defined (column 1)"),
    ],
)
def test_what_does_not_compile_is_told_at_load(templates: RouteTemplates, source: str, told: str) -> None:
    assert problem(templates, source) == told


def test_constants_that_jq_computes_at_compile_time_cannot_harm_the_agent(templates: RouteTemplates) -> None:
    told = problem(templates, '"x" * 1e9 | length')
    assert told.startswith('p: `"x" * 1e9 | length`: compiling it ')
    assert "ended its worker process" in told or "took longer" in told


# ── failures on a message ────────────────────────────────────────────────────────────────────────────

SECRET = View({"inputs": {"token": 'hunter2 (") x', "list": ["hunter2"], "deep": {"k": "hunter2"}}})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (".inputs.token.x", "Cannot index string with string"),
        (".inputs.token | .[0]", "Cannot index string with number"),
        (".inputs.deep[.inputs.list]", "Cannot index object with array"),
        (".inputs.token + 1", "string cannot be added"),
        (".inputs.token | tonumber", "string cannot be parsed as a number"),
        (".inputs.token | fromjson", "Invalid numeric literal"),
        (".inputs.token | @csv", "string cannot be csv-formatted, only array"),
        (".inputs.token | keys", "string has no keys"),
        ("{(.inputs.deep): 1}", "Cannot use object as object key"),
        ('.inputs.token | strptime("%Y")', "date does not match format"),
        ("path(.inputs | tojson | .[0])", "Invalid path expression near attempt to access element"),
        ('.inputs.token | test("(")', "Regex failure"),
        ('error("name is missing")', "name is missing"),
        ("error(.inputs.token)", None),
        ('error("token is " + .inputs.token)', None),
        (".inputs | error", None),
        ("try error(.inputs.token) catch error(.)", None),
    ],
)
def test_failures_repeat_what_jq_said_but_no_value(
    templates: RouteTemplates, source: str, said: str | None
) -> None:
    told = failure(templates, source, SECRET)
    assert "hunter2" not in told
    withheld = "the expression failed; jq's words are withheld, for they may hold values of the message"
    assert told == f"p: `{source}`: {said or withheld}"


def test_long_expressions_are_cut_in_messages(templates: RouteTemplates) -> None:
    told = failure(templates, f'.inputs.name | "{"x" * 500}" as $x | .y')
    assert told.startswith('p: `.inputs.name | "xxx')
    assert len(told) < 200


@pytest.mark.parametrize("source", [".x", ".x | length", "[.x | explode[]] | length"])
def test_lone_surrogates_do_not_hurt(templates: RouteTemplates, source: str) -> None:
    result = evaluate(templates, source, View({"x": "a\ud800\\ud800\x00", "y": "\\"}))
    assert result in ("a�\\ud800\x00", 9)


def test_numbers_that_are_none_do_not_hurt(templates: RouteTemplates) -> None:
    view = View({"x": [float("nan"), float("inf")]})
    assert evaluate(templates, ".x | map(.)", view) == [None, 1.7976931348623157e308]


def nested(depth: int) -> Json:
    value: Json = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("source", [".x", ".x | length", "[.x[]] | length"])
def test_a_bottomless_message_is_a_template_error(templates: RouteTemplates, source: str) -> None:
    told = failure(templates, source, View({"x": nested(100_000)}))
    assert "nested too deeply" in told


def test_a_message_that_is_no_json_is_a_template_error(templates: RouteTemplates) -> None:
    huge: Json = 10**5000
    assert failure(templates, ".x | length", View({"x": huge})) == (
        "p: `.x | length`: the message cannot be given to jq as JSON: ValueError"
    )


def test_results_can_be_deep(templates: RouteTemplates) -> None:
    told = failure(templates, "reduce range(9000) as $i (1; [.])")
    assert told == "p: `reduce range(9000) as $i (1; [.])`: gave a value that is nested too deeply"


# ── where they are evaluated ─────────────────────────────────────────────────────────────────────────


def test_only_what_surely_ends_soon_runs_in_this_process() -> None:
    engine = Expressions({}, limit_s=20)
    try:
        templates = engine.for_route()
        for source in (".a", '.inputs.tags | map("-" + .) | join(" ")', "env | keys"):
            assert templates.expression(source, "p").render(VIEW) is None or source != ".a"
        assert engine._worker.pid is None
        templates.expression("[.inputs.tags[]]", "p").render(VIEW)
        assert engine._worker.pid is not None
    finally:
        engine.close()


def test_what_is_cheap_on_a_small_message_goes_to_the_worker_with_a_large_one() -> None:
    engine = Expressions({}, limit_s=20)
    try:
        expression = engine.for_route().expression(".inputs | map(length) | add", "p")
        assert expression.render(View({"inputs": ["abc"] * 10})) == 30
        assert engine._worker.pid is None
        assert expression.render(View({"inputs": ["abc"] * 100_000})) == 300_000
        assert engine._worker.pid is not None
    finally:
        engine.close()


def test_what_is_cheap_in_a_small_environment_goes_to_the_worker_with_a_large_one() -> None:
    engine = Expressions({"SMALL": "abc", "LARGE": "x" * 2**18}, limit_s=20)
    try:
        for name, expected in (("SMALL", 3), ("LARGE", 2**18)):
            expression = engine.for_route([name]).expression(
                "[$ENV | to_entries | map(.value) | add | length] | add", "p"
            )
            assert expression.render(View({})) == expected
            assert (engine._worker.pid is None) is (name == "SMALL")
    finally:
        engine.close()


def test_expressions_show_no_values_of_the_environment(expressions: Expressions) -> None:
    templates = expressions.for_route(["REGION"])
    assert isinstance(templates.expression(".a", "p"), PathExpression)
    assert isinstance(templates.expression("env.REGION", "p"), JqExpression)
    assert "eu-west-1" not in repr(templates) + repr(templates.expression("env.REGION", "p"))


def test_a_closed_engine_says_so() -> None:
    engine = Expressions({})
    engine.close()
    templates = engine.for_route()
    assert templates.expression(".a | length", "p").render(View({"a": "x"})) == 1
    assert "the agent is stopping" in problem(templates, "[.[]]")
