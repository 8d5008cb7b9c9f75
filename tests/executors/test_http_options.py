from __future__ import annotations

import asyncio
from pathlib import Path

import jsonschema
import pytest

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import Json, JsonObject
from agent.domain.retry import Backoff
from agent.domain.route import Template
from agent.executors.http_options import HTTP_SCHEMA, Mode, fixed_problems, read_http_options
from agent.executors.http_pool import ClientOptions
from agent.executors.http_request import RequestTemplate
from agent.executors.http_retry import DEFAULT_STATUSES, RetryRule
from agent.ports import Encode, ExecutorSettings
from agent.testing import FakeTemplates
from tests.executors.http_server import executor

_BACKOFF = Backoff()

ACCEPTED: list[JsonObject] = [
    {},
    {"method": "POST", "url": "http://ops/restart", "body": {"a": 1}, "timeout": "30s", "retry": 3},
    {"headers": "{{ .inputs }}", "query": {"a": [1]}, "body": None, "timeout": 0.5},
    {"retry": {"attempts": 2, "statuses": [500], "unsafe": True}, "mode": "async"},
    {"idempotency_key": False, "sign": False, "allow_link_local": True, "verify_ssl": False},
    {"ca_file": "/a", "client_cert": "/b", "client_key": "/c", "max_response_bytes": 0, "connect_timeout": "1m"},
]
REFUSED: list[JsonObject] = [
    {"uri": "http://ops/"},
    {"url": 7},
    {"timeout": "soon"},
    {"timeout": 0},
    {"retry": -1},
    {"retry": True},
    {"retry": {"times": 3}},
    {"mode": "later"},
    {"headers": ["a"]},
    {"max_response_bytes": 10**12},
]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(HTTP_SCHEMA)


@pytest.mark.parametrize("options", ACCEPTED)
def test_what_may_be_written_can_be_read(options: JsonObject) -> None:
    jsonschema.validate(options, HTTP_SCHEMA)
    read_http_options(options, ExecutorSettings(), _BACKOFF)


@pytest.mark.parametrize("options", REFUSED)
def test_what_may_not_be_written(options: JsonObject) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(options, HTTP_SCHEMA)


def test_what_a_route_leaves_out_is_the_operators_setting() -> None:
    settings = ExecutorSettings(
        http_timeout_s=7.0, http_verify_ssl=False, http_ca_file=Path("/ca"), http_allow_link_local=True
    )
    read = read_http_options({}, settings, _BACKOFF)
    assert read.timeout_s == 7.0
    assert read.mode is Mode.AUTO
    assert read.client == ClientOptions(verify=False, ca_file=Path("/ca"), allow_link_local=True)
    own: JsonObject = {"timeout": "1m", "verify_ssl": True, "ca_file": "/own", "allow_link_local": False}
    read = read_http_options(own, settings, _BACKOFF)
    assert read.timeout_s == 60.0
    assert read.client == ClientOptions(verify=True, ca_file=Path("/own"), allow_link_local=False)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, RetryRule(attempts=3, statuses=DEFAULT_STATUSES)),
        ({"retry": 0}, RetryRule(attempts=1, asked_for=True)),
        ({"retry": 3}, RetryRule(attempts=4, asked_for=True)),
        ({"retry": {"attempts": 3}}, RetryRule(attempts=3, asked_for=True)),
        ({"retry": {"statuses": [], "unsafe": True}}, RetryRule(statuses=frozenset(), unsafe=True)),
    ],
)
def test_the_forms_of_retry(options: JsonObject, rule: RetryRule) -> None:
    assert read_http_options(options, ExecutorSettings(), _BACKOFF).retry == rule


def test_every_problem_of_a_route_is_told_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError) as caught:
            async with executor({"ca_file": str(tmp_path / "missing"), "headers": {"TE": "x", "a b": "y"}}):
                pass
        assert [problem.path for problem in caught.value.problems] == [
            "routes[0].http.ca_file",
            "routes[0].http.headers.TE",
            "routes[0].http.headers.a b",
        ]

    asyncio.run(scenario())


class _Unforgiving(FakeTemplates):
    """Finds fault with every template."""

    def template(
        self,
        value: Json,
        path: str,
        *,
        encode: Encode | None = None,  # noqa: ARG002 - see above
        is_name: bool = False,  # noqa: ARG002 - see above
    ) -> Template:
        raise ConfigurationError(Problem("routes", f"{value} is wrong", path))


def test_every_template_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RequestTemplate({"url": "http://a", "body": "b", "idempotency_key": True}, "http", _Unforgiving())
    assert [problem.path for problem in caught.value.problems] == ["http.url", "http.body"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "PSOT"}, "http.method: there is no HTTP method 'PSOT' (did you mean POST?)"),
        ({"method": "FROB"}, "http.method: there is no HTTP method 'FROB' (known are GET, HEAD, POST, PUT,"),
        ({"method": "connect"}, "http.method: CONNECT cannot be sent"),
        ({"url": "ops.internal/restart"}, "http.url: the url must begin with http:// or https:// and name a host"),
        ({"url": "ops.internal/{{ .inputs.x }}"}, "http.url: the url must begin with http:// or https://"),
        ({"url": "ftp://{{ .inputs.x }}"}, "http.url: the url must begin with http:// or https://"),
        ({"url": "http://"}, "http.url: the url must begin with http:// or https:// and name a host"),
        ({"url": "http://ops:port/"}, "http.url: the url cannot be read"),
        ({"url": "http://ops/a/../b"}, "http.url: the route's url came out with a . or .. in its path"),
    ],
)
def test_what_no_message_can_mend_is_a_problem(options: JsonObject, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RequestTemplate(options, "http", FakeTemplates())
    [problem] = caught.value.problems
    assert str(problem).startswith(f"routes: {told}")


@pytest.mark.parametrize(
    "options",
    [
        {"method": "post", "url": "https://ops/"},
        {"method": "{{ .inputs.verb }}", "url": "{{ .inputs.url }}"},
        {"method": "PROPFIND", "url": "HTTP://ops:8080/x?y"},
        {"method": "LIST", "url": "http{{ .inputs.s }}://ops"},
        {"url": " https://{{ .inputs.host }}/"},
    ],
)
def test_what_may_come_out_well_is_no_problem(options: JsonObject) -> None:
    assert list(fixed_problems(options, "http", FakeTemplates())) == []
