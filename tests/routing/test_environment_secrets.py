"""Which values of the environment a mapping file's runs mask."""

from __future__ import annotations

import pytest

from agent.domain.invocation import View
from agent.domain.json import Json
from agent.routing.environment_secrets import TakenFromEnvironment, is_secret, secret_forms
from agent.routing.expressions import Expressions
from agent.routing.templates import Constant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JENKINS_TOKEN", "11aa22bb"),
        ("ARGO", "eyJhbGciOi"),
        ("api_key", "abcdef"),
        ("SLACK_URL", "https://hooks.slack.com/services/T024/B0FA/k3yOfTheHook"),
        ("DATABASE_URL", "https://user:password@db/"),
        ("CALLBACK_URL", "https://ops/hook?token=abc"),
        ("GROUP_KEY", "https://["),
        ("my_group_name", "glptt-12345"),
        ("my_group_project", "glptt-12345"),
        ("GROUP_PROJECT", "glptt-12345"),
    ],
)
def test_a_value_is_masked_unless_it_is_plainly_no_secret(name: str, value: str) -> None:
    assert is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITLAB_URL", "https://gitlab.example.com/"),
        ("GITLAB_URL", "https://example.com:8443/tools/gitlab"),
        ("AWS_REGION", "eu-west-1"),
        ("region", "eu-west-1"),
        ("JENKINS_USER", "automation"),
        ("TOKEN", "short"),
        ("TOKEN", ""),
    ],
)
def test_what_logs_and_links_need_stays_readable(name: str, value: str) -> None:
    assert not is_secret(name, value)


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ("glptt-12345", ["glptt-12345"]),
        ({"a": [{"b": "Bearer glptt-12345"}]}, ["glptt-12345"]),
        ({"glptt": 12345, "n": None}, []),
        (None, []),
    ],
)
def test_what_a_made_up_name_gave_is_a_secret_of_the_message(result: Json, found: list[str]) -> None:
    environment = {"group_name": "glptt-12345", "OTHER": "never used", "URL": "https://gitlab/"}
    view = View({})
    template = TakenFromEnvironment(Constant(result), secret_forms(environment, are_encoded=False))
    assert "never used" not in repr(template)
    assert template.render(view) == result
    assert view.secrets == found
    assert view.extended(x=1).secrets is view.secrets


def test_texts_of_the_message_are_not_looked_through_for_secrets() -> None:
    view = View({"inputs": ["says glptt-12345"]})
    result: Json = {"all": view.value, "mine": "is glptt-67890"}
    forms = secret_forms({"A": "glptt-12345", "B": "glptt-67890"}, are_encoded=True)
    TakenFromEnvironment(Constant(result), forms).render(view)
    assert view.secrets == ["glptt-67890"]


@pytest.mark.parametrize(
    "source",
    [
        'env["API" + "_TOKEN"] | @base64',
        '"Basic " + ("me:" + env["API" + "_TOKEN"] | @base64)',
        '"https://api.test/?t=\\(env["API" + "_TOKEN"] | @uri)"',
        'env["API" + "_TOKEN"] | tojson',
        "env as $all | {a: [$all.API_TOKEN]}",
    ],
)
def test_what_a_made_up_name_gave_is_recognised_in_any_coding(source: str) -> None:
    value = 'to "ken"/+?12345'
    engine = Expressions({"API_TOKEN": value, "OTHER": "never used"}, limit_s=20)
    try:
        view = View({})
        engine.for_mapping(source, "p").render(view)
        assert view.secrets == [value]
    finally:
        engine.close()
