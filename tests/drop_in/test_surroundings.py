"""Networks in which the official agent works: so does this one, with the same settings."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.drop_in.internet import Answer
from tests.drop_in.stage import Stage, Standing
from tests.whole.world import CLIENT_SECRET

NO_PROXY = {"HTTP_PROXY": "", "HTTPS_PROXY": ""}
PORT = "port-api.example"

Begin = Callable[[Stage], Standing]


def _ordered(agent: Standing, url: str) -> Standing:
    """The agent with a run to do that calls ``url``."""
    document = messages.webhook(Click("r_1", "an_action"), url, synchronized=True)
    agent.deliver(messages.signed_message(document, CLIENT_SECRET))
    return agent


def _direct(name: str, **settings: str) -> Begin:
    """Without a proxy, to a server on this machine."""

    def begin(stage: Stage) -> Standing:
        agent = stage.begin(name, [{"enabled": True}], {**NO_PROXY, **settings})
        return _ordered(agent, f"{agent.internet.https_url}/hook")

    return begin


def _by_proxy(name: str, url: str, **settings: str) -> Begin:
    return lambda stage: _ordered(stage.begin(name, [{"enabled": True}], settings), url)


def _with_bundle(name: str) -> Begin:
    def begin(stage: Stage) -> Standing:
        return _direct(name, SSL_CERT_FILE="", REQUESTS_CA_BUNDLE=str(stage.ca_file))(stage)

    return begin


def _with_terse_port(stage: Stage) -> Standing:
    """Whoever stands in for Port gives no more than the official agent reads, and is behind the proxy as well."""
    agent = stage.begin("terse", [{"enabled": True}], PORT_API_BASE_URL=f"http://{PORT}")
    agent.internet.answers[f"{PORT}/v1/auth/access_token"] = Answer(body='{"accessToken": "t"}')
    return _ordered(agent, "https://hooks.example/hook")


NETWORKS: dict[str, Begin] = {
    "own_ca": _direct("own_ca"),
    "own_ca_for_requests": _with_bundle("own_ca_for_requests"),
    "self_signed": _direct("self_signed", SSL_CERT_FILE="", WEBHOOK_VERIFY_SSL="False"),
    "proxy_https": _by_proxy("proxy_https", "https://hooks.example/hook"),
    "proxy_https_other_port": _by_proxy("proxy_https_other_port", "https://hooks.example:8443/hook?a=1"),
    "proxy_http": _by_proxy("proxy_http", "http://hooks.example:8080/hook"),
    "proxy_unverified": _by_proxy(
        "proxy_unverified", "https://hooks.example/hook", SSL_CERT_FILE="", WEBHOOK_VERIFY_SSL="false"
    ),
    "terse_port": _with_terse_port,
}
REFUSED: dict[str, Begin] = {"unknown_ca": _direct("unknown_ca", SSL_CERT_FILE="")}


@pytest.fixture(scope="module")
def agents(stage: Stage) -> dict[str, Standing]:
    """One in each network, all done."""
    agents = {name: begin(stage) for name, begin in {**NETWORKS, **REFUSED}.items()}
    for agent in agents.values():
        agent.finish()
    return agents


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "terse_port"])
def test_the_target_is_reached(agents: dict[str, Standing], name: str) -> None:
    agent = agents[name]
    (request,) = agent.internet.received
    assert request.url.partition("?")[0].endswith("/hook")
    assert agent.report("r_1")["status"] == "SUCCESS"


def test_an_unknown_authority_ends_the_run(agents: dict[str, Standing]) -> None:
    agent = agents["unknown_ca"]
    assert agent.internet.received == []
    assert agent.report("r_1")["status"] == "FAILURE"


def test_of_port_no_more_is_needed_than_the_official_agent_reads(agents: dict[str, Standing]) -> None:
    internet = agents["terse_port"].internet
    (_,) = internet.to("https://hooks.example/hook")
    statuses = [json.loads(r.body).get("status") for r in internet.to(PORT) if r.method == "PATCH"]
    assert statuses.count("SUCCESS") == 1
