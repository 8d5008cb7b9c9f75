from __future__ import annotations

import pytest

from agent.domain.invocation import RunId
from agent.domain.json import Json
from agent.domain.outcome import RunStatus
from agent.domain.route import EntityVerb
from agent.ports import EntityChange
from agent.runs_api import wire

RUN = RunId("r_1")


def test_only_what_is_given_is_in_a_patch() -> None:
    assert wire.patch_run(RUN).body == {}
    full = wire.patch_run(
        RUN,
        status=RunStatus.FAILURE,
        status_label="l",
        links=["a", "b"],
        summary="",
        external_run_id="7",
    )
    assert full.body == {
        "status": "FAILURE",
        "statusLabel": "l",
        "link": ["a", "b"],
        "summary": "",
        "externalRunId": "7",
    }
    assert wire.patch_run(RUN, links=["a"]).body == {"link": "a"}


def test_a_node_run_has_its_own_words() -> None:
    assert wire.patch_node_run(RUN).body == {}
    full = wire.patch_node_run(
        RUN,
        result=wire.NodeResult.FAILED,
        output={"n": 1},
        logs=[wire.NodeLog("ERROR", "m")],
        links=["a"],
        external_run_id="7",
    )
    assert full.body == {
        "status": "COMPLETED",
        "result": "FAILED",
        "output": {"n": 1},
        "logs": [{"level": "ERROR", "message": "m"}],
        "links": ["a"],
        "externalRunId": "7",
    }


def test_names_in_paths_are_quoted_and_are_not_in_the_pattern() -> None:
    change = EntityChange(EntityVerb.PATCH, "a/b:@", "../x+ü", {"title": "t"})
    request = wire.change_entity(change, RUN)
    assert request.path == "/v1/blueprints/a%2Fb%3A%40/entities/..%2Fx%2B%C3%BC"
    assert request.route == "/v1/blueprints/{blueprint}/entities/{identifier}"
    assert request.query == {"run_id": "r_1"}


UNFIT = ["", ".", "..", "a b", "a?b", "a#b", "a%2Fb", "a\n", "x" * 1001, "\ud800", "²", "[masked]"]


@pytest.mark.parametrize("name", UNFIT, ids=ascii)
def test_a_name_that_port_gives_to_nothing_is_in_no_path(name: str) -> None:
    allowed = r"\(1 to 1,000 characters: letters, digits and @ _ \. \+ : \\ / = -, no blanks, and not \. or \.\.\)"
    for verb in EntityVerb:
        with pytest.raises(wire.UnfitIdentifierError, match=f"its identifier is none that Port takes {allowed}"):
            wire.change_entity(EntityChange(verb, "service", name), RUN)
    for verb in EntityVerb:
        with pytest.raises(wire.UnfitIdentifierError, match="its blueprint is none"):
            wire.change_entity(EntityChange(verb, name, "x"), RUN)
    for request in (wire.get_run, wire.patch_run, wire.patch_node_run):
        with pytest.raises(wire.UnfitIdentifierError, match="its run_id is none"):
            request(RunId(name))
    with pytest.raises(wire.UnfitIdentifierError):
        wire.add_run_log(RunId(name), "x")
    with pytest.raises(wire.UnfitIdentifierError):
        wire.add_node_run_logs(RunId(name), [])


@pytest.mark.parametrize("name", ["...", "a..", "_user", "a\\b/c=d@e.f+g:h-1", "Größe", "名", "x" * 1000])
def test_a_name_that_port_may_give_is(name: str) -> None:
    assert wire.is_identifier(name)


def test_an_entity_may_leave_its_identifier_to_port_and_its_run_unnamed() -> None:
    change = EntityChange(EntityVerb.UPSERT, "b", None, {"title": "t"})
    request = wire.change_entity(change, None)
    assert (request.method, request.body) == ("POST", {"title": "t"})
    assert request.query == {"upsert": "true", "merge": "true"}


@pytest.mark.parametrize(
    ("body", "token"),
    [
        ({"accessToken": "t", "expiresIn": 7}, wire.Token("t", 7.0)),
        ({"accessToken": "t", "expiresIn": 7.5}, wire.Token("t", 7.5)),
        ({"accessToken": "t"}, wire.Token("t", 3600.0)),
        ({"accessToken": "t", "expiresIn": True}, None),
        ({"accessToken": "t", "expiresIn": "7"}, None),
        ({"accessToken": "", "expiresIn": 7}, None),
        ({"expiresIn": 7}, None),
        ([], None),
    ],
)
def test_tokens(body: Json, token: wire.Token | None) -> None:
    assert wire.read_token(body) == token


def test_a_token_and_a_password_do_not_show_in_a_traceback() -> None:
    assert "s3cret" not in repr(wire.Token("s3cret", 1.0))
    assert "s3cret" not in repr(wire.KafkaCredentials(("b",), "u", "s3cret"))
    assert "s3cret" not in repr(wire.access_token("id", "s3cret"))


@pytest.mark.parametrize(
    ("credentials", "brokers"),
    [
        ({"brokers": ["a:1", " b:2 ", "", 7], "username": "u", "password": "p"}, ("a:1", "b:2")),
        ({"brokers": "a:1, b:2", "username": "u", "password": "p"}, ("a:1", "b:2")),
        ({"brokers": [], "username": "u", "password": "p"}, None),
        ({"brokers": ["a:1"], "username": None, "password": "p"}, None),
        ({"brokers": ["a:1"], "username": "u"}, None),
        (None, None),
    ],
)
def test_kafka_credentials(credentials: Json, brokers: tuple[str, ...] | None) -> None:
    read = wire.read_kafka_credentials({"credentials": credentials})
    assert (read.brokers if read else None) == brokers


def test_runs_and_organisations_without_their_id_are_none() -> None:
    assert wire.read_run({"run": {"id": "r_1"}}) is None
    assert wire.read_run(None) is None
    assert wire.read_organization({"organization": {"name": "n"}}) is None
    assert wire.read_organization({"organization": {"id": "o"}}) == wire.Organization("o", "")


@pytest.mark.parametrize(
    ("body", "text", "message"),
    [
        ({"message": "m", "error": "e"}, "", "m"),
        ({"message": "", "error": "e"}, "", "e"),
        ({"message": {"deep": 1}}, "text", "text"),
        (None, " <html> ", "<html>"),
        (None, "", "no reason given"),
        (None, "x" * 5000, "x" * 5000),
    ],
)
def test_why_port_refused(body: Json, text: str, message: str) -> None:
    assert wire.read_message(body, text) == message


def test_an_excerpt_says_that_it_is_one() -> None:
    assert wire.excerpt("x" * 1000) == "x" * 1000
    assert wire.excerpt("x" * 1001) == "x" * 1000 + " …"
