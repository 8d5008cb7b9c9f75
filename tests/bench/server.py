"""Port's API and the target of HTTP routes in one lean process: ``python -m tests.bench.server``.

It must never be what limits an agent or a bare loop: a raw protocol on uvloop, answers made beforehand, and nothing
kept of a request but a count. It believes everybody and checks nothing; `agent.sandbox.port_api` is the strict one.

It prints its port in one line and serves until it is ended. Beside Port's API there are ``POST /quick``, answered
at once; ``/slow``, answered after ``--slow``; ``/held``, answered once somebody asks for ``/_release``. ``/_stats``
gives `Counts`, ``/_stamps`` when what happened to each run (with ``--stamps``), ``/_reset`` begins both anew. Times
are seconds of the monotonic clock, which all processes of a Linux machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import cast

import httptools
import uvloop

from agent.sandbox.faults import RateLimit

_TOKEN_LIFETIME_S = 3 * 3600
_RUNS = b"/v1/actions/runs"
_RUN = b"/v1/actions/runs/"


@dataclass(slots=True)
class Counts:
    """What has come so far. ``api`` counts all requests to Port, ``refused`` those of them that got 429;
    ``status`` counts terminal statuses, ``failed`` those of them that are not SUCCESS.
    """

    api: int = 0
    token: int = 0
    log: int = 0
    status: int = 0
    failed: int = 0
    refused: int = 0
    target: int = 0
    held: int = 0
    first_target_s: float = 0.0
    first_status_s: float = 0.0
    last_status_s: float = 0.0


@dataclass(slots=True)
class Stamps:
    """When what happened to each run, by its id."""

    called: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    logged: dict[str, float] = field(default_factory=dict)
    """The last time."""
    ended: dict[str, float] = field(default_factory=dict)

    def running(self) -> list[str]:
        """Runs that were heard of and have no status."""
        return [run_id for run_id in self.called | self.logged if run_id not in self.ended]


@dataclass(frozen=True, slots=True)
class Rules:
    """How the server behaves. ``budget`` ``None``: without a limit; else one that is told in every answer if
    ``tells`` is set, and otherwise only by refusals.
    """

    latency_s: float
    slow_s: float
    org: str
    kafka: object
    keeps_stamps: bool
    budget: RateLimit | None
    tells: bool = True

    def word(self, budget: RateLimit, *, refuses: bool) -> dict[str, str]:
        """What an answer says of the budget in its headers."""
        told = budget.headers()
        if self.tells:
            return told
        return {"retry-after": str(math.ceil(float(told["x-ratelimit-reset"])))} if refuses else {}


class Service:
    """What all connections share."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.counts = Counts()
        self.stamps = Stamps()
        self.waiting: list[Callable[[], None]] = []
        self.fine = _answer({"ok": True})
        self._token = _answer({"ok": True, "accessToken": "made-up", "expiresIn": _TOKEN_LIFETIME_S})
        self._kafka = _answer({"ok": True, "credentials": rules.kafka})
        self._organization = _answer({"ok": True, "organization": {"id": rules.org, "name": rules.org}})

    def api(self, method: bytes, url: bytes, body: bytes) -> bytes:
        """The answer of Port's API, with word of the budget where there is one."""
        counts, budget = self.counts, self.rules.budget
        counts.api += 1
        if budget is None:
            return self._api(method, url, body)
        if not budget.spend():
            counts.refused += 1
            word = self.rules.word(budget, refuses=True)
            return _answer({"ok": False, "error": "rate_limit_exceeded"}, b"429 Too Many", word)
        return _with(self.rules.word(budget, refuses=False), self._api(method, url, body))

    def about_us(self, url: bytes) -> bytes:
        """The answer to whoever measures."""
        if url.startswith(b"/_stats"):
            return _answer(asdict(self.counts))
        if url.startswith(b"/_stamps"):
            return _answer(asdict(self.stamps))
        if url.startswith(b"/_reset"):
            self.counts, self.stamps = Counts(held=self.counts.held), Stamps()
        elif url.startswith(b"/_release"):
            waiting, self.waiting, self.counts.held = self.waiting, [], 0
            for answer in waiting:
                answer()
        return self.fine

    def called(self, run_id: str) -> None:
        """The target was called."""
        counts, now_s = self.counts, time.monotonic()
        counts.target += 1
        if counts.target == 1:
            counts.first_target_s = now_s
        if self.rules.keeps_stamps:
            self.stamps.called.setdefault(run_id, now_s)

    def answered(self, run_id: str) -> None:
        """The target has answered."""
        if self.rules.keeps_stamps:
            self.stamps.answered[run_id] = time.monotonic()

    def _api(self, method: bytes, url: bytes, body: bytes) -> bytes:
        counts = self.counts
        if url.startswith(_RUN) and method != b"GET":
            if url.endswith(b"/logs"):
                counts.log += 1
                self._logged(url[len(_RUN) : -len(b"/logs")])
            elif method == b"PATCH" and b'"status":' in body:
                self._ended(url[len(_RUN) :], is_success=b'"SUCCESS"' in body)
            return self.fine
        if url.startswith(b"/v1/auth/"):
            counts.token += 1
            return self._token
        if url.startswith(b"/v1/kafka-credentials"):
            return self._kafka
        if url.startswith(b"/v1/organization"):
            return self._organization
        if url.startswith(_RUN):
            run_id = url[len(_RUN) :].partition(b"?")[0].decode()
            return _answer({"ok": True, "run": {"id": run_id, "status": "IN_PROGRESS"}})
        if url.startswith(_RUNS):
            runs = [{"id": run_id, "status": "IN_PROGRESS"} for run_id in self.stamps.running()]
            return _answer({"ok": True, "runs": runs})
        return self.fine

    def _logged(self, run_id: bytes) -> None:
        if self.rules.keeps_stamps:
            self.stamps.logged[run_id.decode()] = time.monotonic()

    def _ended(self, run_id: bytes, *, is_success: bool) -> None:
        counts, now_s = self.counts, time.monotonic()
        counts.status += 1
        counts.failed += not is_success
        counts.last_status_s = now_s
        if counts.status == 1:
            counts.first_status_s = now_s
        if self.rules.keeps_stamps:
            self.stamps.ended[run_id.decode()] = now_s


class _Connection(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._latency_s = service.rules.latency_s
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._url = self._body = b""
        self._run_id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url, service = self._url, self._service
        if url.startswith(b"/v1/"):
            self._write_after(self._latency_s, service.api(self._parser.get_method(), url, self._body))
        elif url.startswith(b"/_"):
            self._write(service.about_us(url))
        else:
            service.called(self._run_id)
            if url.startswith(b"/held"):
                service.counts.held += 1
                service.waiting.append(partial(self._write_after, 0.0, service.fine))
            else:
                wait_s = service.rules.slow_s if url.startswith(b"/slow") else self._latency_s
                self._write_after(wait_s, service.fine)
                if service.rules.keeps_stamps:
                    self._loop.call_later(wait_s, service.answered, self._run_id)

    def _write_after(self, wait_s: float, answer: bytes) -> None:
        if wait_s:
            self._loop.call_later(wait_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


class _StampedConnection(_Connection):
    """Also reads which run a request to the target is about: reading headers costs time."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"idempotency-key":
            self._run_id = value.decode()


def _answer(body: object, status: bytes = b"200 OK", headers: dict[str, str] | None = None) -> bytes:
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(text))
    return _with(headers or {}, head + text)


def _with(headers: dict[str, str], answer: bytes) -> bytes:
    more = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
    head, end, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n" + more + end[2:] + body if more else answer


async def _serve(rules: Rules, tls: ssl.SSLContext | None) -> None:
    service = Service(rules)
    connection = _StampedConnection if rules.keeps_stamps else _Connection
    server = await asyncio.get_running_loop().create_server(
        lambda: connection(service), "127.0.0.1", 0, backlog=4096, ssl=tls
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def _given() -> tuple[Rules, ssl.SSLContext | None]:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="of every answer but /slow's; seconds")
    parser.add_argument("--slow", type=float, default=1.0, help="how long /slow takes; seconds")
    parser.add_argument("--org", default="org_bench")
    parser.add_argument("--kafka", default="null", help="JSON for /v1/kafka-credentials")
    parser.add_argument("--stamps", action="store_true", help="note when what happened to each run")
    parser.add_argument("--limit", type=int, help="requests to Port in each --period; more get 429")
    parser.add_argument("--period", type=float, default=10.0, help="seconds")
    parser.add_argument("--secretive", action="store_true", help="tell of --limit only by refusing")
    parser.add_argument("--tls", metavar="FILE", help="serve https by the key and certificate in this PEM file")
    given = parser.parse_args()
    tls = None
    if given.tls is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.tls)
    budget = RateLimit(given.limit, given.period, enforced=True) if given.limit else None
    kafka = json.loads(given.kafka)
    return Rules(given.latency, given.slow, given.org, kafka, given.stamps, budget, not given.secretive), tls


if __name__ == "__main__":
    uvloop.run(_serve(*_given()))
