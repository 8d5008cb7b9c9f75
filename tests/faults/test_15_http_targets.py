"""HTTP targets that refuse, hang, redirect, fail, drip, flood or break TLS: each run ends with a reason. What is
sent again is sent only where that is safe, always with the same idempotency key."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import pytest
import trustme

from tests.faults.at_work import all_ended, at_work, check_nothing_was_a_defect
from tests.faults.misfit import Misfit
from tests.net.servers import server_tls
from tests.whole.one_agent import OneAgent, Results

_HTTP = """
    method: "{{ .inputs.method }}"
    url: "{{ .inputs.url }}/{{ .run.id }}"
    timeout: 1500ms
    connect_timeout: 1500ms
"""

ROUTES = f"""
- name: by-default
  match: {{action: by_default}}
  http: {_HTTP}
- name: said-to-be-safe
  match: {{action: said_to_be_safe}}
  http: {_HTTP}
    retry: {{unsafe: true}}
- name: patient
  match: {{action: patient}}
  http: {_HTTP}
    retry: 20
- name: size
  match: {{action: size}}
  http: {_HTTP}
  report: {{summary: "{{{{ .response.text | length }}}} of it, cut: {{{{ .response.truncated }}}}"}}
"""


@dataclass(frozen=True)
class Case:
    """What is asked of which place, and what must come of it; ``requests`` reached the server."""

    method: str
    path: str
    requests: int
    says: str
    status: str = "FAILURE"
    action: str = "by_default"
    scheme: str = "http"


CASES = {
    "3xx": Case("POST", "/status/302", 1, "redirects are not followed"),
    "4xx": Case("PUT", "/status/404", 1, "answered 404 Scripted: becaus"),
    "5xx that is final": Case("PUT", "/status/500", 1, "answered 500 Scripted: becaus"),
    "503, may be repeated": Case("PUT", "/status/503", 3, "answered 503"),
    "503, may not be repeated": Case("POST", "/status/503", 1, "answered 503"),
    "503, said to be safe": Case("POST", "/status/503", 3, "answered 503", action="said_to_be_safe"),
    "time-out, may be repeated": Case("DELETE", "/silent", 3, "did not answer in time"),
    "time-out, may not be repeated": Case("POST", "/silent", 1, "it may have been executed all the same"),
    "broken off, may be repeated": Case("GET", "/broken", 3, "closed the connection without answering"),
    "broken off, may not be repeated": Case("PATCH", "/broken", 1, "it may have been executed all the same"),
    "broken off once": Case("PUT", "/broken-once", 2, "", "SUCCESS"),
    "broken off once, not safe": Case("POST", "/broken-once", 1, "without answering"),
    "broken off once, said to be safe": Case("POST", "/broken-once", 2, "", "SUCCESS", "said_to_be_safe"),
    "slow body": Case("POST", "/drops", 1, "did not end its answer in time"),
    "bad certificate": Case("PUT", "/status/200", 0, "certificate of 127.0.0.1", scheme="https"),
    "no TLS at all": Case("POST", "/status/200", 0, "TLS", scheme="https to http"),
    "connection refused": Case("POST", "/status/200", 0, "Connection refused", scheme="refused"),
}

ATTEMPTS = {"no TLS at all": 3, "connection refused": 3}
"""Where nothing reaches the server: what may be tried again all the same, for it was surely never sent."""


@contextmanager
def listening(
    agent: OneAgent, misfit: Misfit, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The misfit on a port, until the block ends."""
    stack, loop = AsyncExitStack(), agent.world.loop
    try:
        yield loop.run(stack.enter_async_context(misfit.listening(port=port, tls=tls)))
    finally:
        loop.run(stack.aclose())


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneAgent]:
    """Its breakers are off: here all that fails is one server's doing."""
    settings = {"AGENT_HTTP_BREAKER_FAILURES": "0"}
    with at_work(tmp_path_factory.mktemp("targets"), ROUTES, settings) as agent:
        yield agent
        check_nothing_was_a_defect(agent, agent.world)


@pytest.fixture(scope="module")
def misfit() -> Misfit:
    return Misfit()


@pytest.fixture(scope="module")
def results(agent: OneAgent, misfit: Misfit) -> Iterator[Results]:
    """All cases at once."""
    tls_context = server_tls(trustme.CA())
    with (
        listening(agent, misfit) as plain,
        listening(agent, misfit, tls=tls_context) as tls,
        socket.socket() as taken,
    ):
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        places = {
            "http": f"http://127.0.0.1:{plain}",
            "https": f"https://127.0.0.1:{tls}",
            "https to http": f"https://127.0.0.1:{plain}",
            "refused": f"http://127.0.0.1:{taken.getsockname()[1]}",
        }
        yield agent.invoke_all(
            {
                name: (case.action, {"method": case.method, "url": places[case.scheme] + case.path})
                for name, case in CASES.items()
            }
        )


@pytest.mark.parametrize("name", CASES)
def test_it_ends_as_it_must_and_is_repeated_only_where_that_is_safe(
    name: str, misfit: Misfit, agent: OneAgent, results: Results
) -> None:
    case = CASES[name]
    (run,) = all_ended(agent, [results.run_ids[name]])
    assert run.terminal_statuses == [case.status]
    assert case.says in (run.summary or "")
    requests = misfit.requests_of(run.id)
    assert [request.method for request in requests] == [case.method] * case.requests
    assert {request.key for request in requests} <= {run.id}, "one key for all"
    repeated = run.log_text.count("sending it again")
    assert repeated == max(ATTEMPTS.get(name, 0), case.requests, 1) - 1, run.log_text


def test_of_a_huge_body_no_more_is_read_than_the_route_wants(
    agent: OneAgent, misfit: Misfit, results: Results
) -> None:
    """By itself: the server is busy with it."""
    all_ended(agent, results.run_ids.values())
    with listening(agent, misfit) as port:
        place = f"http://127.0.0.1:{port}/huge"
        (run,) = all_ended(agent, [agent.invoke("size", {"method": "POST", "url": place})])
    assert (run.terminal_statuses, run.summary) == (["SUCCESS"], "1048576 of it, cut: true")
    assert len(misfit.requests_of(run.id)) == 1


def test_what_was_never_sent_is_sent_once_the_target_is_there(agent: OneAgent, misfit: Misfit) -> None:
    """A POST too, and then exactly once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        run_id = agent.invoke("patient", {"method": "POST", "url": f"http://127.0.0.1:{port}/status/200"})
        run = agent.world.ledger.runs[run_id]
        agent.wait_until(lambda: run.log_text.count("sending it again") > 1, "two attempts that were refused")
    with listening(agent, misfit, port=port):
        assert all_ended(agent, [run_id])[0].terminal_statuses == ["SUCCESS"]
    assert [request.key for request in misfit.requests_of(run_id)] == [run_id]
