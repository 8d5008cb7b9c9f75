"""What is said to whoever writes jq as if it were something else."""

from __future__ import annotations

import pytest

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.invocation import View
from agent.routing.expressions import Expressions, RouteTemplates
from agent.routing.jq_names import BEFORE_THE_WORK


@pytest.fixture(scope="module")
def strict(expressions: Expressions) -> RouteTemplates:
    """As for a route's own expressions: the names that they may read are known."""
    return expressions.for_route(seen=BEFORE_THE_WORK)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("inputs.name", "write .inputs.name"),
        ("input.name", "write .inputs.name"),
        ("inputs", "write .inputs"),
        ("entity.identifier", "write .entity.identifier"),
        ("run.id", "write .run.id"),
        ('"x" + entitty.team', "write .entity.team"),
        (".inputs.first-name", 'write .inputs["first-name"]: without the quotes the hyphen is a minus'),
        (".inputs.my-first-name.x", 'write .inputs["my-first-name"].x: without the quotes the hyphen is a minus'),
        (".inputs.a.ec2-kind", 'write .inputs.a["ec2-kind"]: without the quotes the hyphen is a minus'),
        (".first-name", 'write .inputs["first-name"]: without the quotes the hyphen is a minus'),
        (".instance-type", 'did you mean `.inputs["instance-type"]`?'),
        (".inputs.first - name", "text needs double quotes"),
        (".inputs.name | upper", "jq has ascii_upcase"),
        (".inputs.name | lower", "jq has ascii_downcase"),
        (".inputs.name | strip", "jq has trim"),
        ('.inputs.name | default("x")', 'jq has // "…", as in .inputs.name // "none"'),
        ('.inputs.name | replace("a"; "b")', 'jq has gsub("…"; "…")'),
        (".inputs.name | ascii_upcas", "did you mean ascii_upcase?"),
        (".inputs.name | join", "join takes another number of arguments"),
        (".inputs.name == prod", "text needs double quotes"),
        (".input.name", "did you mean `.inputs`?"),
        (".name", "did you mean `.inputs.name`?"),
        (".context.runId", "did you mean `.message.context`?"),
        (".response.status", "it is there after the work, so in `report` and `entities` only"),
    ],
)
def test_a_hint_for_what_is_refused(strict: RouteTemplates, source: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        strict.expression(source, "p")
    assert [problem.hint for problem in caught.value.problems] == [hint]


def test_a_hyphen_that_jq_takes_for_a_minus_is_told_when_it_fails(strict: RouteTemplates) -> None:
    view = View({"inputs": {"instance": "x", "instance-type": "t3"}})
    with pytest.raises(TemplateError) as caught:
        strict.expression(".inputs.instance-type", "p").render(view)
    failed, _, hint = str(caught.value).partition(" (")
    assert failed == "p: `.inputs.instance-type`: string and string cannot be subtracted"
    assert hint == 'did you mean .inputs["instance-type"]?)'
    with pytest.raises(TemplateError) as caught:
        strict.expression(".inputs.instance - 1", "p").render(view)
    assert str(caught.value) == "p: `.inputs.instance - 1`: string and number cannot be subtracted"
