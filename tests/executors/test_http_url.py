"""What a message can make of a route's url: through the templates that routes really have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.domain.errors import TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject
from agent.executors.http_request import RequestTemplate
from agent.executors.http_url import UnsendableError, parsed, put_together
from agent.routing.expressions import Expressions, RouteTemplates

ENVIRONMENT = {"BASE": "http://ops:8080/api", "HOST": "ops:8080"}


@pytest.fixture(scope="module")
def templates() -> Iterator[RouteTemplates]:
    engine = Expressions(ENVIRONMENT, limit_s=20)
    yield engine.for_route(["BASE", "HOST", "UNSET"])
    engine.close()


def called(templates: RouteTemplates, url: str, value: Json) -> str:
    """The url that a route with ``url`` calls for an input ``x``."""
    view = View({"inputs": {"x": value}})
    return str(RequestTemplate({"url": url}, "routes[0].http", templates).render(view).url)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("billing", "billing"),
        ("admin/wipe?x=", "admin%2Fwipe%3Fx%3D"),
        ("a b&c#d", "a%20b%26c%23d"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("grün", "gr%C3%BCn"),
        ("...", "..."),
        ("\ud800", "%EF%BF%BD"),
        ("v1.2", "v1.2"),
        ("a;b", "a%3Bb"),
        (7, "7"),
        ({"a": 1}, "%7B%22a%22%3A1%7D"),
    ],
)
def test_a_value_inside_a_url_stays_one_piece_of_it(templates: RouteTemplates, value: Json, expected: str) -> None:
    for base in ("http://ops/services", "http://ops/find?name="):
        joint = "" if base.endswith("=") else "/"
        url = base + joint + "{{ .inputs.x }}"
        assert called(templates, url, value) == base + joint + expected
        assert called(templates, url.replace(".inputs.x", ".inputs | .x"), value) == base + joint + expected


@pytest.mark.parametrize(
    "value", ["../../admin/wipe?x=", "..", ".", "..\\..\\admin", "a/./b", "a/..", "..;", "a/.;b/c"]
)
def test_a_value_does_not_climb_out_of_its_path(templates: RouteTemplates, value: str) -> None:
    with pytest.raises(UnsendableError, match=r"leads to another path") as caught:
        called(templates, "http://ops/services/{{ .inputs.x }}/restart", value)
    assert "admin" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("http://ops/services/.{{ .inputs.x }}/restart", "."),
        ("http://ops/services/{{ .inputs.x }}{{ .inputs.x }}/restart", "."),
        ("http://ops/services/{{ .inputs.x }}?fixed", ".."),
        ("{{ env.BASE }}/services/{{ .inputs.x }}#part", ".."),
        ('{{ "http://ops/services/" + .inputs.x }}', "../admin"),
        ("{{ .inputs.x }}", "http://ops/services/%2E%2e/admin"),
    ],
)
def test_climbing_is_seen_however_the_url_is_put_together(templates: RouteTemplates, url: str, value: str) -> None:
    with pytest.raises(UnsendableError, match=r"leads to another path"):
        called(templates, url, value)


def test_dots_in_a_query_climb_nowhere(templates: RouteTemplates) -> None:
    assert called(templates, "http://ops/x?up={{ .inputs.x }}", "../..") == "http://ops/x?up=..%2F.."


@pytest.mark.parametrize(
    "url",
    [
        "http://ops/services/{{ .inputs.x }}/restart",
        "http://ops/services/svc-{{ .inputs.x }}",
        "http://{{ .inputs.x }}.ops/",
        "http://ops/find?name={{ .inputs | .x }}",
        "http://ops/{{ env.UNSET }}/x",
        "{{ .inputs.x }}/services",
    ],
)
def test_a_null_inside_of_a_url_fails(templates: RouteTemplates, url: str) -> None:
    told = 'gave null inside of text; where it may be missing, end the expression with // "…"'
    with pytest.raises(TemplateError, match=re.escape(told)) as caught:
        called(templates, url, None)
    assert str(caught.value).startswith("routes[0].http.url: `")


@pytest.mark.parametrize(
    "url",
    [
        'http://ops/services/{{ .inputs.x // "" }}',
        'http://ops/services/{{ .inputs.x // "" }}/restart',
        'http://ops/services/{{ .inputs.x // "" }}{{ .inputs.x // "" }}?a=b',
        'http://ops/services/{{ .inputs.x // "" }}#part',
        '{{ env.BASE }}/{{ .inputs.x // "" }}/restart',
    ],
)
def test_a_value_that_is_empty_does_not_shorten_the_path(templates: RouteTemplates, url: str) -> None:
    with pytest.raises(UnsendableError, match="leads to another resource than it names"):
        called(templates, url, None)
    assert called(templates, url, "a").startswith("http://ops")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://ops//x/?q={{ .inputs.x }}", "http://ops//x/?q="),
        ("http://ops/x/?{{ .inputs.x }}", "http://ops/x/?"),
        ("http://ops/svc-{{ .inputs.x }}/", "http://ops/svc-/"),
        ("http://ops/x#{{ .inputs.x }}", "http://ops/x#"),
    ],
)
def test_a_value_that_is_empty_may_stand_elsewhere(templates: RouteTemplates, url: str, expected: str) -> None:
    assert called(templates, url, "") == expected


def test_empty_values_hide_no_climbing(templates: RouteTemplates) -> None:
    with pytest.raises(UnsendableError, match="leads to another path"):
        called(templates, "http://ops/a/.{{ .inputs.x }}./b", "")


def test_an_idempotency_key_is_not_the_same_for_all_who_lack_a_value(templates: RouteTemplates) -> None:
    options: JsonObject = {
        "url": "http://ops",
        "idempotency_key": "order-{{ .inputs.x }}",
        "body": "{{ .inputs.x }}-",
    }
    request = RequestTemplate(options, "routes[0].http", templates)
    with pytest.raises(TemplateError, match=r"http\.idempotency_key"):
        request.render(View({"inputs": {}}))
    assert request.render(View({"inputs": {"x": 7}})).body == "7-"


@pytest.mark.parametrize("value", ["evil.example/#", "evil.example?", "evil.example\\", "ops@evil.example:80/"])
def test_a_value_does_not_choose_the_host(templates: RouteTemplates, value: str) -> None:
    with pytest.raises(UnsendableError, match="percent-encoded") as caught:
        called(templates, "https://{{ .inputs.x }}.ops/restart", value)
    assert "evil" not in str(caught.value)


def test_a_value_does_not_choose_the_host_by_the_port(templates: RouteTemplates) -> None:
    assert called(templates, "http://127.0.0.1:{{ .inputs.x }}/x", 8081) == "http://127.0.0.1:8081/x"
    with pytest.raises(UnsendableError, match="cannot be read"):
        called(templates, "http://ops:{{ .inputs.x }}/x", "80@evil.example")


@pytest.mark.parametrize(
    ("url", "value", "expected"),
    [
        ("{{ .inputs.x }}", "https://ops/a?b=c d", "https://ops/a?b=c%20d"),
        ("{{ .inputs.x }}/restart", "https://ops/a", "https://ops/a/restart"),
        ("{{ env.BASE }}/{{ .inputs.x }}", "a/b", "http://ops:8080/api/a%2Fb"),
        ("http://{{env.HOST}}/{{ .inputs.x }}", "a/b", "http://ops:8080/a%2Fb"),
        ("http://{{ $ENV.HOST }}/x", "", "http://ops:8080/x"),
        ("http://[::1]:80/{{ .inputs.x }}", "a", "http://[::1]/a"),
    ],
)
def test_what_the_operator_vouches_for_stays_as_it_is(
    templates: RouteTemplates, url: str, value: str, expected: str
) -> None:
    assert called(templates, url, value) == expected


def test_the_message_names_its_url_as_ever(templates: RouteTemplates) -> None:
    view = View({"action": {"invocationMethod": {"url": "http://ops/a/../b"}}, "message": {}})
    assert str(RequestTemplate({}, "routes[0].http", templates).render(view).url) == "http://ops/b"


@pytest.mark.parametrize(
    ("written", "called_as"),
    [
        ("/{a}|b", "/%7Ba%7D%7Cb"),
        ("/a\\b", "/a%5Cb"),
        ("/[x]^`y", "/%5Bx%5D%5E%60y"),
        ("/a b", "/a%20b"),
        ("/grün", "/gr%C3%BCn"),
        ("/a?b=[x]&c={y}?", "/a?b=%5Bx%5D&c=%7By%7D?"),
        ("/%", "/%25"),
        ("/a%zz%20", "/a%25zz%2520"),
        ("/a%20?x=%", "/a%20?x=%25"),
        ("/%7E%41%2f%c3", "/~A%2F%C3"),
        ("/a%2e%2E/b", "/a%2E%2E/b"),
        ("/a:@!$&'()*+,;=~b?c:@/?d", "/a:@!$&'()*+,;=~b?c:@/?d"),
        ("", "/"),
        ("?q=[1]", "/?q=%5B1%5D"),
    ],
)
def test_what_may_not_stand_in_a_url_is_percent_encoded(written: str, called_as: str) -> None:
    for place in ("http://ops:8080", "https://user:pw%5B@ops", "http://[::1]"):
        assert parsed(place + written).raw_path.decode() == called_as


@given(st.text(st.characters(exclude_categories=["Cc"])))
def test_spelling_it_again_changes_nothing(rest: str) -> None:
    once = str(parsed("http://ops/" + rest.partition("#")[0]))
    assert str(parsed(once)) == once


@given(st.text("./\\%;?#: 2eEaü\n\ufdd0", max_size=12))
@example(" ..")
@example("..;a")
@example("a\\..")
@example("a/%2e%2E;b?c")
@example("/\ufdd0/")
def test_every_step_and_gap_in_a_url_is_found(url: str) -> None:
    """As found by a look at each segment, whatever the url is."""
    path = re.split(r"[?#]", url.strip(), maxsplit=1)[0]
    has_gap = any(segment and not segment.replace("\ufdd0", "") for segment in path.split("/"))
    steps = re.split(r"[/\\]", unquote(re.split(r"[?#]", url.replace("\ufdd0", "").strip(), maxsplit=1)[0]))
    climbs = any(step.split(";")[0] in (".", "..") for step in steps)
    told = "another resource" if has_gap else "another path" if climbs else None
    with nullcontext() if told is None else pytest.raises(UnsendableError, match=told):
        put_together(url)
