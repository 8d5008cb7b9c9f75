"""The template language."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json, as_text
from agent.routing.expressions import RouteTemplates
from agent.routing.jq_paths import as_jq
from agent.routing.templates import sole_expression
from tests.routing.test_jq_paths import VALUES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BRACES = st.text(st.sampled_from('{} ".a\\|(') | st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = TEXT.filter(lambda text: "{{" not in text)


@settings(deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PLAIN,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_holds_no_expression_stays_as_it_is(templates: RouteTemplates, value: Json) -> None:
    assert templates.template(value, "p").render(View({})) == value


@settings(deadline=None)
@given(value=VALUES)
def test_a_sole_expression_keeps_the_type(templates: RouteTemplates, value: Json) -> None:
    result = templates.template(" {{ .inputs.x }}\n", "p").render(View({"inputs": {"x": value}}))
    assert result == as_jq(value)
    assert type(result) is type(as_jq(value))


@settings(deadline=None)
@given(before=PLAIN, between=PLAIN, value=VALUES)
def test_inside_text_strings_go_in_as_they_are_and_the_rest_as_json(
    templates: RouteTemplates, before: str, between: str, value: Json
) -> None:
    before = before.rstrip("{")
    between = between.rstrip("{") + "-"
    template = templates.template(f"{before}{{{{ .x }}}}{between}{{{{.x}}}}", "p")
    shown = as_text(as_jq(value))
    assert template.render(View({"x": value})) == f"{before}{shown}{between}{shown}"


def test_null_in_text_reads_null_as_with_port(templates: RouteTemplates) -> None:
    assert templates.template("a-{{ .missing }}", "p").render(View({})) == "a-null"
    assert templates.template('a-{{ .missing // "" }}', "p").render(View({})) == "a-"


def test_null_in_a_name_fails_and_says_how_to_allow_it(templates: RouteTemplates) -> None:
    with pytest.raises(TemplateError) as caught:
        templates.template("a-{{ .missing }}", "p", is_name=True).render(View({}))
    told = "p: `.missing` gave null inside of text; where it may be missing, end the expression with "
    assert str(caught.value) == told + '// "…"'
    assert templates.template('a-{{ .missing // "" }}', "p", is_name=True).render(View({})) == "a-"
    assert templates.template("a-{{ .x }}", "p", is_name=True).render(View({"x": False})) == "a-false"
    assert templates.template("{{ .missing }}", "p", is_name=True).render(View({})) is None


@settings(deadline=None)
@given(value=BRACES)
def test_what_a_message_says_is_never_evaluated(templates: RouteTemplates, value: str) -> None:
    view = View({"x": value, "secret": "s3cret"})
    hostile = View({"x": value + '{{ .secret }} \\(.secret) {{ "', "secret": "s3cret"})
    assert templates.template("{{ .x }}", "p").render(view) == value
    assert templates.template("<{{ .x }}>", "p").render(view) == f"<{value}>"
    assert templates.template('{{ "<\\(.x)>" }}', "p").render(hostile) == f"<{hostile.value['x']}>"
    assert "s3cret" not in as_text(templates.template({"{{ .x }}": "{{ .x }}"}, "p").render(hostile))


@settings(deadline=None)
@given(literal=BRACES)
def test_any_text_can_stand_in_an_expression_as_a_jq_string(templates: RouteTemplates, literal: str) -> None:
    source = json.dumps(literal, ensure_ascii=False)
    assert templates.template(f"{{{{ {source} }}}}", "p").render(View({})) == literal


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{{ "{{" }}', "{{"),
        ('a {{ "}}" }} b', "a }} b"),
        ("}} {{ 1 }}", "}} 1"),
        ("{ not one }", "{ not one }"),
        ("{{ {a:{b:1}} }}", {"a": {"b": 1}}),
        ("{{{a:{b:1}}}}", {"a": {"b": 1}}),
        ('{{ "}}\\("}}" | length)" }}', "}}2"),
        ("{{ .x # a comment }}", "v"),
        ("{{ .x # a comment with }} and text", "v and text"),
        ("{{ .x # on two lines \\\n | length \n | length }}", 1),
        ("{{ [.x # }}\n ] }}", ["v"]),
        ("{{ .x\n | length }}", 1),
        ("{{ empty }}", None),
        (["{{ .x }}", 1, ["{{ .n }}"]], ["v", 1, [7]]),
        ({"a": {"{{ .x }}-{{ .n }}": "{{ .n }}"}}, {"a": {"v-7": 7}}),
        ({"{{ .missing }}": 1, "{{ empty }}": 2, '{{ "" }}': 3, "": 4}, {"": 4}),
        ({"a": 1, "{{ spreadValue() }}": {"b": "{{ .n }}"}}, {"a": 1, "b": 7}),
        ({" {{spreadValue( )}} ": "{{ {a: 1} }}", "a": 2}, {"a": 2}),
        ({"{{ spreadValue() }}": "{{ .missing }}"}, {}),
    ],
)
def test_the_language(templates: RouteTemplates, template: Json, expected: Json) -> None:
    assert templates.template(template, "p").render(View({"x": "v", "n": 7})) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"a": {"{{ 1 }}": 2}}, "p.a: an expression in a key must give text or null, not a number"),
        ({"{{ true }}": 2}, "p: an expression in a key must give text or null, not true or false"),
        ({"{{ {} }}": 2}, "p: an expression in a key must give text or null, not an object"),
        ({"{{ spreadValue() }}": "{{ [1] }}"}, "p: only an object can be spread, not a list"),
        ({"{{ spreadValue() }}": "{{ .x }}"}, "p: only an object can be spread, not text"),
        (["{{ .x.y }}"], "p[0]: `.x.y`: Cannot index string with string"),
    ],
)
def test_what_fails_on_a_message(templates: RouteTemplates, template: Json, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        templates.template(template, "p").render(View({"x": "v"}))
    assert str(caught.value) == message


def test_every_problem_of_a_template_is_told_with_its_place(templates: RouteTemplates) -> None:
    broken: Json = {"a": ["{{ .x", "{{ }}"], "b c": "{{ foo( }} {{ nofun }}", "{{ ) }}": {"d": '{{ "'}}
    with pytest.raises(ConfigurationError) as caught:
        templates.template(broken, "p")
    unclosed = 'a `{{` is never closed by `}}` (a bracket or quote in it may be open; write {{ "{{" }} where two '
    assert [str(problem) for problem in caught.value.problems] == [
        f"p.a[0]: {unclosed}braces are meant)",
        "p.a[1]: an expression is empty (write a jq path such as .inputs)",
        f'p["b c"]: {unclosed}braces are meant)',
        "p: `)`: syntax error, unexpected character (column 2)",
        f'p["{{{{ ) }}}}"].d: {unclosed}braces are meant)',
    ]


def test_a_sole_expression_is_found_inside_blanks_only() -> None:
    assert sole_expression(" {{ .a }} ") == " .a "
    assert sole_expression("{{ .a }}{{ .b }}") is None
    assert sole_expression("x{{ .a }}") is None
    assert sole_expression("{{ .a") is None
    assert sole_expression("") is None
